import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Answers questions about a running Kafka with the Java client, until its standard input ends. Each line is a question,
 * with tabs between its words. The answer is "ok", a tab, a number, and that many lines; or "error", a tab and the
 * reason. One process answers many questions, because a virtual machine takes longer to start than most questions take.
 *
 * Argument: bootstrap.servers.
 */
public class AskKafka {
    static String bootstrap;
    static Admin admin;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                List<String> answer = answer(line.split("\t"));
                out.println("ok\t" + answer.size());
                answer.forEach(out::println);
            } catch (Exception error) {
                Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
                out.println("error\t" + cause.toString().replace('\n', ' '));
            }
            out.flush();
        }
        // Not System.exit: background threads and shutdown hooks have nothing to finish.
        Runtime.getRuntime().halt(0);
    }

    static List<String> answer(String[] words) throws Exception {
        switch (words[0]) {
            case "nodes":
                return nodes(words[1]);
            case "create":
                return create(words);
            case "elect":
                return elect(List.of(words).subList(1, words.length));
            case "configure":
                return configure(words);
            case "scram":
                return scram(words[1], words[2], words[3]);
            case "delete":
                return delete(List.of(words).subList(1, words.length));
            case "describe":
                return describe(words[1]);
            case "read":
                return read(words[1], Path.of(words[2]));
            case "produce":
                return produce(words[1], Path.of(words[2]));
            default:
                throw new IllegalArgumentException("no such question: " + words[0]);
        }
    }

    /** nodes HOST:PORT: prints the ids of the running nodes, according to the node at this address. */
    static List<String> nodes(String address) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", address, "request.timeout.ms", 1000, "default.api.timeout.ms", 1000);
        try (Admin one = Admin.create(settings)) {
            Collection<Node> nodes = one.describeCluster().nodes().get();
            return nodes.stream().map(node -> Integer.toString(node.id())).collect(Collectors.toList());
        }
    }

    /** create TOPIC PARTITIONS REPLICATION [NAME=VALUE]...; or REPLICAS "assigned", such as 0,1,2;1,2,0 */
    static List<String> create(String[] words) throws Exception {
        Map<String, String> settings = new HashMap<>();
        for (int i = 4; i < words.length; i++) {
            String[] setting = words[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        NewTopic topic = words[3].equals("assigned")
            ? new NewTopic(words[1], assignment(words[2]))
            : new NewTopic(words[1], Integer.parseInt(words[2]), Short.parseShort(words[3]));
        admin().createTopics(List.of(topic.configs(settings))).all().get();
        return List.of();
    }

    static Map<Integer, List<Integer>> assignment(String partitions) {
        Map<Integer, List<Integer>> replicas = new HashMap<>();
        for (String ids : partitions.split(";")) {
            replicas.put(replicas.size(), Arrays.stream(ids.split(",")).map(Integer::valueOf).collect(Collectors.toList()));
        }
        return replicas;
    }

    /** elect TOPIC...: moves their partitions back to the preferred leaders. */
    static List<String> elect(Collection<String> topics) throws Exception {
        Set<TopicPartition> partitions = new HashSet<>();
        for (TopicDescription topic : admin().describeTopics(topics).allTopicNames().get().values()) {
            topic.partitions().forEach(one -> partitions.add(new TopicPartition(topic.name(), one.partition())));
        }
        for (Optional<Throwable> error : admin().electLeaders(ElectionType.PREFERRED, partitions).partitions().get().values()) {
            if (error.isPresent() && !(error.get() instanceof ElectionNotNeededException)) {
                throw new ExecutionException(error.get());
            }
        }
        return List.of();
    }

    /** configure topic|broker NAME SETTING [VALUE]: sets or removes a setting; a broker without a name means all brokers. */
    static List<String> configure(String[] words) throws Exception {
        ConfigResource.Type type = ConfigResource.Type.valueOf(words[1].toUpperCase(Locale.ROOT));
        AlterConfigOp change = words.length > 4
            ? new AlterConfigOp(new ConfigEntry(words[3], words[4]), AlterConfigOp.OpType.SET)
            : new AlterConfigOp(new ConfigEntry(words[3], ""), AlterConfigOp.OpType.DELETE);
        admin().incrementalAlterConfigs(Map.of(new ConfigResource(type, words[2]), List.of(change))).all().get();
        return List.of();
    }

    /** scram USER MECHANISM PASSWORD: sets a user's password. */
    static List<String> scram(String user, String mechanism, String password) throws Exception {
        ScramCredentialInfo info = new ScramCredentialInfo(ScramMechanism.fromMechanismName(mechanism), 4096);
        admin().alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, info, password))).all().get();
        return List.of();
    }

    /** delete TOPIC... */
    static List<String> delete(Collection<String> topics) throws Exception {
        admin().deleteTopics(topics).all().get();
        return List.of();
    }

    /** describe TOPIC: prints each partition's index, leader or -1, end offset, and in-sync nodes, separated by commas. */
    static List<String> describe(String name) throws Exception {
        List<TopicPartitionInfo> partitions =
            admin().describeTopics(List.of(name)).allTopicNames().get().get(name).partitions();
        Map<TopicPartition, OffsetSpec> led = new HashMap<>();
        for (TopicPartitionInfo partition : partitions) {
            if (hasLeader(partition)) {
                led.put(new TopicPartition(name, partition.partition()), OffsetSpec.latest());
            }
        }
        var ends = admin().listOffsets(led);
        List<String> lines = new ArrayList<>();
        for (TopicPartitionInfo partition : partitions) {
            boolean hasLeader = hasLeader(partition);
            long end = hasLeader
                ? ends.partitionResult(new TopicPartition(name, partition.partition())).get().offset() : -1;
            String inSync =
                partition.isr().stream().map(node -> Integer.toString(node.id())).collect(Collectors.joining(","));
            int leader = hasLeader ? partition.leader().id() : -1;
            lines.add(partition.partition() + "\t" + leader + "\t" + end + "\t" + inSync);
        }
        return lines;
    }

    static boolean hasLeader(TopicPartitionInfo partition) {
        return partition.leader() != null && !partition.leader().isEmpty();
    }

    /**
     * read TOPIC FILE: writes the topic's current records, one per line: partition, offset, the key's length or -1, key,
     * value; the format is that of kcat -f '%p\t%o\t%K\t%k\t%s\n'.
     */
    static List<String> read(String name, Path file) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false,
            "auto.offset.reset", "none", "fetch.max.wait.ms", 50, "check.crcs", true);
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, bytes, bytes);
             BufferedWriter out = Files.newBufferedWriter(file)) {
            List<TopicPartition> partitions = consumer.partitionsFor(name).stream()
                .map(partition -> new TopicPartition(name, partition.partition())).collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("nothing came for 60 s, and the end of " + name + " was not reached");
                }
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                if (!records.isEmpty()) {
                    deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
                }
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    byte[] key = record.key();
                    out.write(record.partition() + "\t" + record.offset() + "\t" + (key == null ? -1 : key.length)
                        + "\t" + text(key) + "\t" + text(record.value()) + "\n");
                }
            }
        }
        return List.of();
    }

    static String text(byte[] bytes) {
        return bytes == null ? "" : new String(bytes, StandardCharsets.UTF_8);
    }

    /** produce TOPIC FILE: sends each line as a record, with a tab between key and value; without a tab there is no key. */
    static List<String> produce(String name, Path file) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap);
        StringSerializer strings = new StringSerializer();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, strings, strings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String line : Files.readAllLines(file)) {
                int tab = line.indexOf('\t');
                String key = tab < 0 ? null : line.substring(0, tab);
                sent.add(producer.send(new ProducerRecord<>(name, key, line.substring(tab + 1))));
            }
            for (Future<RecordMetadata> record : sent) {
                record.get();
            }
        }
        return List.of();
    }

    /** Created on first use: the cluster may still be starting when this program does. */
    static Admin admin() {
        if (admin == null) {
            admin = Admin.create(Map.of(
                "bootstrap.servers", bootstrap, "request.timeout.ms", 3000, "default.api.timeout.ms", 10000));
        }
        return admin;
    }
}
