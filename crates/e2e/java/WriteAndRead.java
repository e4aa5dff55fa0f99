import java.io.PrintStream;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Per file of settings, writes records with the Java producer to partition 0 of a topic that has the file's name, and reads
 * them back with the Java consumer. Prints a line per file: the numbers of records written and read, and the messages of
 * the first error, separated by tabs.
 *
 * Arguments: number of records, files of settings.
 */
public class WriteAndRead {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        int records = Integer.parseInt(args[0]);
        for (int i = 1; i < args.length; i++) {
            Path file = Path.of(args[i]);
            Properties settings = new Properties();
            try (Reader reader = Files.newBufferedReader(file)) {
                settings.load(reader);
            }
            String topic = file.getFileName().toString();
            int written = 0;
            int read = 0;
            String error = "";
            try {
                written = write(settings, topic, records);
                read = read(settings, topic, records);
            } catch (Exception failure) {
                error = messages(failure);
            }
            out.println(written + "\t" + read + "\t" + error);
        }
        out.flush();
        // Threads of refused clients may still run.
        Runtime.getRuntime().halt(0);
    }

    static int write(Properties settings, String topic, int records) throws Exception {
        StringSerializer strings = new StringSerializer();
        int written = 0;
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, strings, strings)) {
            // Otherwise each record would fail after an attempt of its own.
            producer.partitionsFor(topic);
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < records; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, 0, null, topic + " " + i)));
            }
            for (Future<RecordMetadata> record : sent) {
                record.get();
                written++;
            }
        }
        return written;
    }

    static int read(Properties settings, String topic, int records) {
        StringDeserializer strings = new StringDeserializer();
        int read = 0;
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings, strings, strings)) {
            List<TopicPartition> partitions = List.of(new TopicPartition(topic, 0));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            while (read < records && System.nanoTime() < deadline) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (!record.value().equals(topic + " " + read)) {
                        throw new IllegalStateException("offset " + record.offset() + " has " + record.value());
                    }
                    read++;
                }
            }
        }
        return read;
    }

    static String messages(Throwable failure) {
        StringBuilder messages = new StringBuilder();
        for (Throwable one = failure; one != null; one = one.getCause()) {
            messages.append(messages.length() > 0 ? ": " : "").append(one.getMessage());
        }
        return messages.toString().replaceAll("\\s+", " ");
    }
}
