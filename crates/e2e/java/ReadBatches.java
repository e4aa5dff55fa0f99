import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.StringJoiner;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;

/**
 * Reads record batches like a Java consumer and prints each as a line of JSON, with bytes in base64.
 *
 * Argument: a file of batches, each after its length as a 32-bit integer.
 */
public class ReadBatches {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        try (DataInputStream in = new DataInputStream(new FileInputStream(args[0]))) {
            while (true) {
                byte[] bytes;
                try {
                    bytes = new byte[in.readInt()];
                } catch (EOFException end) {
                    break;
                }
                in.readFully(bytes);
                for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
                    out.println(read(batch));
                }
            }
        }
        out.flush();
    }

    static String read(RecordBatch batch) {
        batch.ensureValid();
        StringJoiner records = new StringJoiner(",", "[", "]");
        for (Record record : batch) {
            record.ensureValid();
            StringJoiner headers = new StringJoiner(",", "[", "]");
            for (Header header : record.headers()) {
                byte[] key = header.key().getBytes(StandardCharsets.UTF_8);
                ByteBuffer value = header.value() == null ? null : ByteBuffer.wrap(header.value());
                headers.add("[" + base64(ByteBuffer.wrap(key)) + "," + base64(value) + "]");
            }
            records.add("{\"offset\":" + record.offset() + ",\"timestamp\":" + record.timestamp()
                + ",\"sequence\":" + record.sequence() + ",\"key\":" + base64(record.key())
                + ",\"value\":" + base64(record.value()) + ",\"headers\":" + headers + "}");
        }
        return "{\"magic\":" + batch.magic() + ",\"compression\":\"" + batch.compressionType().name + "\""
            + ",\"producerId\":" + batch.producerId() + ",\"producerEpoch\":" + batch.producerEpoch()
            + ",\"baseSequence\":" + batch.baseSequence() + ",\"isTransactional\":" + batch.isTransactional()
            + ",\"maxTimestamp\":" + batch.maxTimestamp() + ",\"records\":" + records + "}";
    }

    static String base64(ByteBuffer bytes) {
        if (bytes == null) return "null";
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return '"' + Base64.getEncoder().encodeToString(copy) + '"';
    }
}
