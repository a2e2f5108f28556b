import java.io.FileReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes to one partition with two transactional producers and one plain one, all at a time, so that transactions
 * overlap: java WriteTransactions.java PROPERTIES TOPIC ROUNDS
 *
 * In every round of 100 records the first producer aborts every second transaction, the second one every third; the plain
 * records stand between. The value of a record says what becomes of it: `committed N`, `aborted N`, `plain N`, with N
 * counting up over all in the order they are in the log. At the end a transaction is left open: it prints `open`, and
 * commits when its standard input ends.
 */
public class WriteTransactions {
    static int number = 0;
    static String topic;

    public static void main(String[] args) throws Exception {
        topic = args[1];
        int rounds = Integer.parseInt(args[2]);
        try (KafkaProducer<byte[], byte[]> first = producer(args[0], topic + "-first");
                KafkaProducer<byte[], byte[]> second = producer(args[0], topic + "-second");
                KafkaProducer<byte[], byte[]> plain = producer(args[0], null)) {
            first.initTransactions();
            second.initTransactions();
            for (int round = 0; round < rounds; round++) {
                String firstEnds = round % 2 == 1 ? "aborted" : "committed";
                String secondEnds = round % 3 == 2 ? "aborted" : "committed";
                first.beginTransaction();
                second.beginTransaction();
                write(first, firstEnds, 30);
                write(second, secondEnds, 20);
                write(plain, "plain", 10);
                write(first, firstEnds, 20);
                end(first, firstEnds);
                write(plain, "plain", 10);
                write(second, secondEnds, 10);
                end(second, secondEnds);
            }
            first.beginTransaction();
            write(first, "committed", 10);
            write(plain, "plain", 10);
            System.out.println("open");
            System.out.flush();
            while (System.in.read() >= 0) {
            }
            first.commitTransaction();
        }
    }

    static void write(KafkaProducer<byte[], byte[]> producer, String what, int records) {
        for (int each = 0; each < records; each++) {
            byte[] value = (what + " " + number++).getBytes(StandardCharsets.UTF_8);
            producer.send(new ProducerRecord<>(topic, 0, null, value));
        }
        // The next producer's records stand behind these.
        producer.flush();
    }

    static void end(KafkaProducer<byte[], byte[]> producer, String how) {
        if (how.equals("aborted")) {
            producer.abortTransaction();
        } else {
            producer.commitTransaction();
        }
    }

    static KafkaProducer<byte[], byte[]> producer(String file, String transactionalId) throws Exception {
        Properties properties = new Properties();
        try (FileReader reader = new FileReader(file)) {
            properties.load(reader);
        }
        if (transactionalId != null) {
            properties.put("transactional.id", transactionalId);
        }
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }
}
