import java.io.IOException;

/**
 * Runs a node of a Kafka cluster until its standard input ends. So no node outlives the test that holds the other end,
 * however the test ended.
 *
 * Argument: the node's properties file.
 */
public class RunNode {
    public static void main(String[] args) {
        Thread watch = new Thread(RunNode::endWithInput, "standard-input");
        watch.setDaemon(true);
        watch.start();
        kafka.Kafka.main(args);
    }

    static void endWithInput() {
        try {
            while (System.in.read() >= 0) {
                // The content does not matter.
            }
        } catch (IOException gone) {
            // An error counts as the end of input.
        }
        Runtime.getRuntime().halt(1);
    }
}
