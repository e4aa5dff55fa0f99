import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes to a topic at a steady rate with the Java producer, idempotent and with acks=all, to each partition in turn,
 * until its standard input ends. Prints "begin", then a line for each completed record: "written" or "failed", the
 * partition, and the microseconds since the beginning.
 *
 * Arguments: bootstrap.servers, topic, number of partitions, records per second, and perhaps a file of more settings.
 */
public class KeepProducing {
    static final int TICKS_PER_SECOND = 100;
    static volatile boolean isToEnd;

    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int partitions = Integer.parseInt(args[2]);
        int aTick = Integer.parseInt(args[3]) / TICKS_PER_SECOND;
        Properties settings = new Properties();
        settings.putAll(Map.of("bootstrap.servers", args[0], "acks", "all", "enable.idempotence", true,
            "buffer.memory", 128 * 1024 * 1024));
        if (args.length > 4) {
            try (Reader reader = Files.newBufferedReader(Path.of(args[4]))) {
                settings.load(reader);
            }
        }
        StringSerializer strings = new StringSerializer();
        KafkaProducer<String, String> producer = new KafkaProducer<>(settings, strings, strings);
        // Connects and fetches the topic's metadata before the clock starts.
        producer.partitionsFor(topic);
        watchInput();
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
        out.write("begin\n");
        out.flush();
        long begin = System.nanoTime();
        String filler = "Kurier".repeat(12);
        long sent = 0;
        for (long tick = 0; !isToEnd; tick++) {
            long due = begin + tick * 1_000_000_000L / TICKS_PER_SECOND;
            long early = due - System.nanoTime();
            if (early > 0) {
                Thread.sleep(early / 1_000_000, (int) (early % 1_000_000));
            }
            for (int i = 0; i < aTick; i++) {
                int partition = (int) (sent % partitions);
                String value = topic + " " + partition + " " + sent + " " + filler;
                producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
                    long at = (System.nanoTime() - begin) / 1_000;
                    write(out, (error == null ? "written\t" : "failed\t") + partition + "\t" + at + "\n");
                });
                sent++;
            }
            synchronized (out) {
                out.flush();
            }
        }
        producer.close(Duration.ofSeconds(60));
        out.flush();
        // A thread still waits for input, so end the process this way.
        Runtime.getRuntime().halt(0);
    }

    static void write(BufferedWriter out, String line) {
        synchronized (out) {
            try {
                out.write(line);
            } catch (IOException gone) {
                isToEnd = true;
            }
        }
    }

    static void watchInput() {
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // The content does not matter.
                }
            } catch (IOException gone) {
                // An error counts as the end of input.
            }
            isToEnd = true;
        }, "standard-input");
        watch.setDaemon(true);
        watch.start();
    }
}
