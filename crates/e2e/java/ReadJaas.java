import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import java.util.StringJoiner;
import java.util.TreeMap;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.config.SaslConfigs;
import org.apache.kafka.common.config.types.Password;
import org.apache.kafka.common.security.JaasContext;

/**
 * Reads values of sasl.jaas.config like a Java client and prints each as a line of JSON: the value, and the login module with
 * its options or the error.
 *
 * Argument: a file with a value per line, in base64.
 */
public class ReadJaas {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String config = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8);
            out.println("{\"config\":" + quoted(config) + "," + read(config) + "}");
        }
        out.flush();
    }

    static String read(String config) {
        try {
            JaasContext context = JaasContext.loadClientContext(Map.of(SaslConfigs.SASL_JAAS_CONFIG, new Password(config)));
            AppConfigurationEntry entry = context.configurationEntries().get(0);
            // An option whose name is no text has the name null.
            Map<String, String> options = new TreeMap<>();
            entry.getOptions().forEach((key, value) -> options.put(String.valueOf(key), String.valueOf(value)));
            StringJoiner members = new StringJoiner(",", "{", "}");
            options.forEach((key, value) -> members.add(quoted(key) + ":" + quoted(value)));
            return "\"module\":" + quoted(entry.getLoginModuleName()) + ",\"options\":" + members;
        } catch (Exception error) {
            return "\"error\":" + quoted(String.valueOf(error.getMessage()));
        }
    }

    static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                json.append('\\').append(letter);
            } else if (letter < ' ' || letter == 127) {
                json.append(String.format("\\u%04x", (int) letter));
            } else {
                json.append(letter);
            }
        }
        return json.append('"').toString();
    }
}
