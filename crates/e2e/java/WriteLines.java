import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes a file's lines to topics with the Java producer, idempotent and with acks=all. Each line is a record, with the
 * first tab between key and value. Prints topic, partition and offset of each line of each topic.
 *
 * Arguments: bootstrap.servers, the file, then pairs of a topic and its compression.type.
 */
public class WriteLines {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        List<String> lines = Files.readAllLines(Path.of(args[1]));
        for (int i = 2; i < args.length; i += 2) {
            write(args[0], lines, args[i], args[i + 1], out);
        }
        out.flush();
    }

    static void write(String bootstrap, List<String> lines, String topic, String codec, PrintStream out) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap, "acks", "all", "enable.idempotence", true, "compression.type", codec);
        StringSerializer strings = new StringSerializer();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, strings, strings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String line : lines) {
                int tab = line.indexOf('\t');
                sent.add(producer.send(new ProducerRecord<>(topic, line.substring(0, tab), line.substring(tab + 1))));
            }
            for (Future<RecordMetadata> record : sent) {
                out.println(topic + "\t" + record.get().partition() + "\t" + record.get().offset());
            }
        }
    }
}
