// The Java client, with a callback for each record. It takes the flags of kurier_bench::Workload and prints the same line of JSON.
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Peer {
    private static final long SLEEP_MIN_NANOS = 250_000;

    private final Map<String, String> flags = new HashMap<>();
    private final long records;
    private final int size;
    private final byte[] payload;
    private final AtomicLong acknowledged = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    // By ten microseconds, up to 20 seconds. Only the producer's thread writes.
    private final long[] latencies = new long[2_000_000];

    private Peer(String[] arguments) throws IOException {
        for (int i = 0; i + 1 < arguments.length; i += 2) flags.put(arguments[i].substring(2), arguments[i + 1]);
        records = Long.parseLong(flag("records", "1000000"));
        size = Integer.parseInt(flag("size", "100"));
        payload = flags.containsKey("payload") ? Files.readAllBytes(Path.of(flags.get("payload"))) : letters(Math.max(size, 1 << 20) + 1);
    }

    private String flag(String name, String otherwise) {
        return flags.getOrDefault(name, otherwise);
    }

    private static byte[] letters(int count) {
        byte[] letters = new byte[count];
        long state = 0x9E3779B97F4A7C15L;
        for (int i = 0; i < count; i++) {
            state ^= state << 13;
            state ^= state >>> 7;
            state ^= state << 17;
            letters[i] = (byte) ('A' + Long.remainderUnsigned(state, 26));
        }
        return letters;
    }

    private static byte[] key(long number) {
        byte[] key = new byte[8];
        long rest = Long.remainderUnsigned(number * 2_654_435_761L, 100_000_000);
        for (int i = 7; i >= 0; i--, rest /= 10) key[i] = (byte) ('0' + rest % 10);
        return key;
    }

    // Processor seconds of this process: its own, and the system's.
    private static double[] cpu() throws IOException {
        String[] fields = Files.readString(Path.of("/proc/self/stat")).replaceAll("\\(.*\\)", "x").split(" ");
        return new double[] {Long.parseLong(fields[13]) / 100.0, Long.parseLong(fields[14]) / 100.0};
    }

    private static double peakMemory() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status")))
            if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("\\D", "")) / 1024.0;
        return 0;
    }

    private Properties settings() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", flag("bootstrap", ""));
        settings.put("acks", flag("acks", "all"));
        settings.put("linger.ms", flag("linger-ms", "5"));
        settings.put("batch.size", flag("batch-size", "16384"));
        settings.put("compression.type", flag("compression", "none"));
        settings.put("enable.idempotence", flag("idempotence", "1").equals("1") ? "true" : "false");
        settings.put("buffer.memory", flag("buffer", "33554432"));
        settings.put("key.serializer", ByteArraySerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        return settings;
    }

    private void run() throws Exception {
        String topic = flag("topic", "bench");
        double rate = Double.parseDouble(flag("rate", "0"));
        boolean isKeyed = flag("keyed", "0").equals("1");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings())) {
            producer.partitionsFor(topic);
            double[] before = cpu();
            long start = System.nanoTime();
            long due = 0;
            int at = 0;
            for (long number = 0; number < records; number++) {
                while (rate > 0 && number >= due) {
                    long elapsed = System.nanoTime() - start;
                    long wait = (long) (number * 1e9 / rate) - elapsed;
                    if (wait <= 0) due = Math.max(number, (long) (elapsed / 1e9 * rate)) + 1;
                    else LockSupport.parkNanos(Math.max(wait, SLEEP_MIN_NANOS));
                }
                byte[] value = Arrays.copyOfRange(payload, at, at + size);
                at = (at + size) % (payload.length - size);
                byte[] key = isKeyed ? key(number) : null;
                long sent = System.nanoTime();
                producer.send(new ProducerRecord<>(topic, key, value), (metadata, error) -> {
                    if (error != null) {
                        failed.incrementAndGet();
                        return;
                    }
                    acknowledged.incrementAndGet();
                    latencies[(int) Math.min(latencies.length - 1, (System.nanoTime() - sent) / 10_000)]++;
                });
            }
            producer.flush();
            double seconds = (System.nanoTime() - start) / 1e9;
            double[] after = cpu();
            report(seconds, after[0] - before[0], after[1] - before[1]);
        }
    }

    private double quantile(double quantile) {
        long wanted = (long) (quantile * acknowledged.get());
        long seen = 0;
        for (int i = 0; i < latencies.length; i++) if ((seen += latencies[i]) > wanted) return i / 100.0;
        return 0;
    }

    private void report(double seconds, double user, double system) throws IOException {
        long ok = acknowledged.get();
        System.out.printf(Locale.ROOT,
            "{\"peer\":\"java\",\"records\":%d,\"failed\":%d,\"size\":%d,\"secs\":%.3f,\"rec_per_s\":%.0f,\"mb_per_s\":%.1f,"
                + "\"cpu_user\":%.3f,\"cpu_sys\":%.3f,\"cpu_us_per_rec\":%.3f,\"rss_mb\":%.1f,\"latencies\":%d,"
                + "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"p999_ms\":%.2f}%n",
            ok, failed.get(), size, seconds, ok / seconds, ok * (double) size / seconds / 1e6,
            user, system, (user + system) * 1e6 / Math.max(ok, 1), peakMemory(), ok,
            quantile(.5), quantile(.99), quantile(.999));
    }

    public static void main(String[] arguments) throws Exception {
        new Peer(arguments).run();
    }
}
