import java.io.FileReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes the numbered records that `numbered` in transport/interop.rs makes too, with Kafka's own producer and its own
 * choice of partitions: java WriteMany.java PROPERTIES TOPIC COUNT CODEC...
 *
 * Prints for each record, codec by codec and in order: number, partition, offset.
 */
public class WriteMany {
    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int count = Integer.parseInt(args[2]);
        StringBuilder told = new StringBuilder();
        for (int each = 3; each < args.length; each++) {
            Properties properties = new Properties();
            try (FileReader file = new FileReader(args[0])) {
                properties.load(file);
            }
            properties.put("compression.type", args[each]);
            properties.put("linger.ms", "5");
            ByteArraySerializer bytes = new ByteArraySerializer();
            try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties, bytes, bytes)) {
                List<Future<RecordMetadata>> written = new ArrayList<>();
                for (int number = 0; number < count; number++) {
                    written.add(producer.send(numbered(topic, number)));
                }
                for (int number = 0; number < count; number++) {
                    RecordMetadata at = written.get(number).get();
                    told.append(number).append(' ').append(at.partition()).append(' ').append(at.offset()).append('\n');
                }
            }
        }
        System.out.print(told);
    }

    static ProducerRecord<byte[], byte[]> numbered(String topic, int number) {
        byte[] key = switch (number % 7) {
            case 0 -> null;
            case 1 -> new byte[0];
            default -> bytes("key-" + number % 97);
        };
        byte[] value = number % 11 == 0 ? null : bytes(("value " + number + ", ").repeat(1 + number % 5));
        List<Header> headers = switch (number % 3) {
            case 0 -> List.of();
            case 1 -> List.of(header("h", "" + number), header("n", null), header("h", "" + number), header("", ""));
            default -> List.of(header("z", "1"), header("a", "2"), header("z", null), header("z", "1"));
        };
        return new ProducerRecord<>(topic, null, 1_700_000_000_000L + number, key, value, headers);
    }

    static Header header(String name, String value) {
        return new RecordHeader(name, value == null ? null : bytes(value));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
