import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.config.ConfigResource;

/**
 * Changes configurations of brokers while they run.
 *
 * Arguments: properties of the connection, ids of brokers with commas between, and NAME=VALUE to set or NAME to set back,
 * any number. Ends when each of the brokers has taken over all of them.
 */
public class ConfigureBrokers {
    public static void main(String[] arguments) throws Exception {
        Properties connection = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(arguments[0]))) {
            connection.load(reader);
        }
        List<AlterConfigOp> operations = new ArrayList<>();
        for (String change : List.of(arguments).subList(2, arguments.length)) {
            String[] parts = change.split("=", 2);
            AlterConfigOp.OpType type = parts.length == 2 ? AlterConfigOp.OpType.SET : AlterConfigOp.OpType.DELETE;
            operations.add(new AlterConfigOp(new ConfigEntry(parts[0], parts.length == 2 ? parts[1] : null), type));
        }
        Map<ConfigResource, Collection<AlterConfigOp>> changes = new HashMap<>();
        for (String id : arguments[1].split(",")) {
            changes.put(new ConfigResource(ConfigResource.Type.BROKER, id), operations);
        }
        try (Admin admin = Admin.create(connection)) {
            admin.incrementalAlterConfigs(changes).all().get();
        }
    }
}
