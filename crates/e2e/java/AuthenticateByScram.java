import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.StringJoiner;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.callback.NameCallback;
import javax.security.auth.callback.PasswordCallback;
import org.apache.kafka.common.security.auth.SaslExtensions;
import org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerClientInitialResponse;
import org.apache.kafka.common.security.scram.ScramCredential;
import org.apache.kafka.common.security.scram.ScramCredentialCallback;
import org.apache.kafka.common.security.scram.ScramExtensionsCallback;
import org.apache.kafka.common.security.scram.internals.ScramFormatter;
import org.apache.kafka.common.security.scram.internals.ScramMechanism;
import org.apache.kafka.common.security.scram.internals.ScramSaslClient;
import org.apache.kafka.common.security.scram.internals.ScramSaslServer;
import org.apache.kafka.common.security.token.delegation.internals.DelegationTokenCredentialCallback;

/**
 * Lets Java's SCRAM client authenticate with Java's SCRAM server, and prints each exchange as a line of JSON, with random
 * nonces and salts. Then prints first messages of OAUTHBEARER, as lines of JSON too.
 */
public class AuthenticateByScram {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        String[][] users = {{"alice", "alice-secret"}, {"a=b,c", " with spaces, and = "}, {"bob", "pässwörd €😀"}};
        for (ScramMechanism mechanism : ScramMechanism.values()) {
            for (int iterations : new int[] {4096, 10000}) {
                for (String[] user : users) {
                    out.println(exchange(mechanism, user[0], user[1], iterations, false));
                }
            }
            out.println(exchange(mechanism, "token-id", "dG9rZW4taG1hYw==", 4096, true));
        }
        out.println(bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.", Map.of()));
        out.println(bearer("a-._~+/Z9==", Map.of("logicalCluster", "lkc-1 \t\"x\"=y,~")));
        out.flush();
    }

    static String exchange(ScramMechanism mechanism, String name, String password, int iterations, boolean isToken) throws Exception {
        ScramFormatter formatter = new ScramFormatter(mechanism);
        ScramCredential credential = formatter.generateCredential(password, iterations);
        CallbackHandler ofClient = callbacks -> {
            for (Callback callback : callbacks) {
                if (callback instanceof NameCallback) ((NameCallback) callback).setName(name);
                if (callback instanceof PasswordCallback) ((PasswordCallback) callback).setPassword(password.toCharArray());
                if (callback instanceof ScramExtensionsCallback && isToken)
                    ((ScramExtensionsCallback) callback).extensions(Map.of("tokenauth", "true"));
            }
        };
        CallbackHandler ofServer = callbacks -> {
            for (Callback callback : callbacks) {
                if (callback instanceof DelegationTokenCredentialCallback) {
                    ((DelegationTokenCredentialCallback) callback).scramCredential(credential);
                    ((DelegationTokenCredentialCallback) callback).tokenOwner("alice");
                } else if (callback instanceof ScramCredentialCallback) {
                    ((ScramCredentialCallback) callback).scramCredential(credential);
                }
            }
        };
        ScramSaslClient client = new ScramSaslClient(mechanism, ofClient);
        ScramSaslServer server = new ScramSaslServer(mechanism, new HashMap<>(), ofServer);
        byte[] message = client.evaluateChallenge(new byte[0]);
        StringJoiner messages = new StringJoiner(",", "[", "]");
        while (!client.isComplete()) {
            byte[] answer = server.evaluateResponse(message);
            messages.add(quoted(message)).add(quoted(answer));
            message = client.evaluateChallenge(answer);
        }
        return "{\"mechanism\":\"" + mechanism.mechanismName() + "\",\"username\":" + quoted(name.getBytes(StandardCharsets.UTF_8))
            + ",\"password\":" + quoted(password.getBytes(StandardCharsets.UTF_8)) + ",\"token\":" + isToken + ",\"messages\":" + messages + "}";
    }

    static String bearer(String token, Map<String, String> extensions) throws Exception {
        byte[] message = new OAuthBearerClientInitialResponse(token, new SaslExtensions(extensions)).toBytes();
        StringJoiner members = new StringJoiner(",", "{", "}");
        extensions.forEach((key, value) -> members.add(ReadJaas.quoted(key) + ":" + ReadJaas.quoted(value)));
        return "{\"mechanism\":\"OAUTHBEARER\",\"value\":\"" + token + "\",\"extensions\":" + members + ",\"messages\":[" + quoted(message) + "]}";
    }

    static String quoted(byte[] bytes) {
        return ReadJaas.quoted(new String(bytes, StandardCharsets.UTF_8));
    }
}
