import java.io.ByteArrayInputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.StringJoiner;
import java.util.TreeMap;

/**
 * Reads properties files of odd syntax with {@link Properties#load(java.io.InputStream)}. Prints each as a line of JSON:
 * the file, whose characters are bytes, and its pairs, sorted by key, or null if Java refuses the file.
 *
 * Its output is testdata/properties.jsonl.
 */
public class ReadProperties {
    private static final String[] FILES = {
        "", "\n", "\r\n\r\n", " \t\f", "a", "a\n", "a=b", "a:b", "a b", "a\tb", "a\fb", "a = b", "a \t:\f b", "a==b", "a=:b", "a:=b",
        "a = = b", "a  b", "a b=c", "=b", ":b", "a=", "a:", "a ", "= ", "a=b ", "a=b \t\f", "a=b\\ ", "a=b \\\n", "a=\\ b",
        "a=b\rc=d", "a=b\r\nc=d", "a=b\n\rc=d", "a=b\r\rc=d", "  a=b", "\f\ta=b", "a=1\na=2",
        "# comment\na=b", "! comment\na=b", "  # comment\na=b", "# C:\\users\na=b", "# \\u\na=b", "# not continued \\\na=b", "#", "!\\",
        "#\r\na=b", "a=b#c", "a=b # c", "a#b=c", "a!b=c", "#a=b\r#c=d\re=f", "\\#a=b", "\\!a=b",
        "a=b\\\nc", "a=b\\\n   c", "a=b\\\r\n\tc", "a=b\\\rc", "a=b\\\r\rc=d", "a=b\\\n\nc=d", "a=b\\\n# c", "a=b\\\n\\\nc", "a=b\\\n \\\n c",
        "a\\\nb=c", "a\\\n=b", "a\\\n = b", "a \\\n = b", "a=\\\nb", "a=\\\n\nb", "\\\na=b", "\\\n# c\na=b", "\\\n\na=b", "\\\n \\\n a=b",
        "\\\\\na=b", "a=b\\\\\nc=d", "a=b\\\\\\\nc=d", "a=b\\", "a=b\\\\", "\\", "\\\n", "\\\r", "\\\r\n", "\\\\", "a\\", "a=\\", "a=b\\\n", "a=b\\\r\n",
        "a\\=b=c", "a\\:b:c", "a\\ b c", "a\\\tb c", "a\\\\=b", "a\\\\\\=b=c", "a\\n=b", "a=\\t\\n\\f\\r", "a=\\b\\q\\0\\\"\\'", "a=\\\\n",
        "a=\\u0041", "\\u0061=b", "a=\\u00e9\\u20ac", "a=\\ud83d\\ude00", "a=\\uD83D\\\n\\uDE00", "a=\\u004", "a=\\u00g0", "a=\\u", "a=\\\\u00",
        "a=\\U0041", "a=\\uu0041", "\\u003d=b", "\\u0023a=b", "a\\u0020b=c", "a=\\u005cn", "a=\\u000ab", "a=\\u00\\\n41", "# \\u00\na=\\u0041",
        "caf\u00e9=\u00ff", "\u00a0a=b", "a\u00a0b=c", "\u0085a=b", "a=\0", "a\0=b", "\u000ba=b",
        "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\\n  username=\"alice\" \\\n  password=\"a=b;\" ;",
    };

    private static final String[] PARTS = {
        "\\", "\\\\", "\\u0041", "\\n", "=", ":", " ", "\t", "\f", "#", "!", "\n", "\r", "\r\n", "a", "b", "\u00e9",
    };

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        List<String> files = new ArrayList<>(List.of(FILES));
        Random random = new Random(6);
        for (int i = 0; i < 400; i++) {
            StringBuilder file = new StringBuilder();
            for (int parts = random.nextInt(16); parts >= 0; parts--) {
                file.append(PARTS[random.nextInt(PARTS.length)]);
            }
            files.add(file.toString());
        }
        for (String file : files) {
            out.println("[" + json(file) + "," + read(file) + "]");
        }
        out.flush();
    }

    static String read(String file) throws Exception {
        Properties properties = new Properties();
        try {
            properties.load(new ByteArrayInputStream(file.getBytes(StandardCharsets.ISO_8859_1)));
        } catch (IllegalArgumentException refused) {
            return "null";
        }
        StringJoiner pairs = new StringJoiner(",", "[", "]");
        for (Map.Entry<Object, Object> pair : new TreeMap<>(properties).entrySet()) {
            pairs.add("[" + json((String) pair.getKey()) + "," + json((String) pair.getValue()) + "]");
        }
        return pairs.toString();
    }

    static String json(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char unit : text.toCharArray()) {
            if (unit == '"' || unit == '\\') {
                out.append('\\').append(unit);
            } else if (unit < ' ' || unit > '~') {
                out.append(String.format("\\u%04x", (int) unit));
            } else {
                out.append(unit);
            }
        }
        return out.append('"').toString();
    }
}
