import java.io.IOException;

/**
 * A node of a Kafka cluster that ends when its standard input does, so that no node outlives the test that holds the
 * other end, however that test ended.
 *
 * The one argument is the node's file of properties.
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
                // What is said does not matter.
            }
        } catch (IOException gone) {
            // As good as its end.
        }
        Runtime.getRuntime().halt(1);
    }
}
