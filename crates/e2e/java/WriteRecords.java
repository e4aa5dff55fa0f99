import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes a file's records to a topic with the Java producer, each to its given partition. Flushes after every hundred
 * records.
 *
 * Each line is a record: partition, key, value, then name and value of each header, separated by tabs. Bytes are in hex,
 * null is -. Prints the numbers of acknowledged and refused records.
 *
 * Arguments: bootstrap.servers, topic, compression.type, acks ("all" also means idempotent), file.
 */
public class WriteRecords {
    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", args[0], "compression.type", args[2], "acks", args[3],
            "enable.idempotence", args[3].equals("all"));
        int acknowledged = 0;
        int refused = 0;
        ByteArraySerializer bytes = new ByteArraySerializer();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, bytes, bytes)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String line : Files.readAllLines(Path.of(args[4]))) {
                sent.add(producer.send(record(args[1], line.split("\t", -1))));
                if (sent.size() % 100 == 0) {
                    producer.flush();
                }
            }
            for (Future<RecordMetadata> record : sent) {
                try {
                    record.get();
                    acknowledged++;
                } catch (ExecutionException refusal) {
                    refused++;
                }
            }
        }
        System.out.println(acknowledged + " " + refused);
    }

    static ProducerRecord<byte[], byte[]> record(String topic, String[] fields) {
        List<Header> headers = new ArrayList<>();
        for (int i = 3; i < fields.length; i += 2) {
            headers.add(new RecordHeader(new String(unhex(fields[i]), StandardCharsets.UTF_8), unhex(fields[i + 1])));
        }
        return new ProducerRecord<>(topic, Integer.valueOf(fields[0]), unhex(fields[1]), unhex(fields[2]), headers);
    }

    static byte[] unhex(String field) {
        return field.equals("-") ? null : HexFormat.of().parseHex(field);
    }
}
