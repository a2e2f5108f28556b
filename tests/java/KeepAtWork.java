import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLongArray;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.LongSerializer;

/**
 * Kafka's own producer and consumer at work, as a measure of how soon a client gets on after a failure.
 *
 * Arguments: properties of the connection, topic, number of partitions, group. A record goes to each partition every 20 ms,
 * and all are read. For each line of standard input one of output tells how many milliseconds it took from then until a
 * record that was sent after it was acknowledged, and one read, of each partition: "written read". Ends with its input.
 */
public class KeepAtWork {
    public static void main(String[] arguments) throws Exception {
        Properties connection = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(arguments[0]))) {
            connection.load(reader);
        }
        connection.put("request.timeout.ms", "5000");
        String topic = arguments[1];
        int partitions = Integer.parseInt(arguments[2]);
        AtomicLongArray written = new AtomicLongArray(partitions);
        AtomicLongArray read = new AtomicLongArray(partitions);
        daemon(() -> write(connection, topic, written));
        daemon(() -> read(connection, topic, arguments[3], read));
        BufferedReader marks = new BufferedReader(new InputStreamReader(System.in));
        while (marks.readLine() != null) {
            long mark = System.nanoTime();
            long writtenAfter = -1;
            long readAfter = -1;
            while (writtenAfter < 0 || readAfter < 0) {
                Thread.sleep(2);
                long passed = (System.nanoTime() - mark) / 1_000_000;
                writtenAfter = writtenAfter < 0 && allSince(written, mark) ? passed : writtenAfter;
                readAfter = readAfter < 0 && allSince(read, mark) ? passed : readAfter;
            }
            System.out.println(writtenAfter + " " + readAfter);
        }
    }

    private static boolean allSince(AtomicLongArray latest, long mark) {
        for (int partition = 0; partition < latest.length(); partition++) {
            if (latest.get(partition) == 0 || latest.get(partition) - mark <= 0) {
                return false;
            }
        }
        return true;
    }

    private static void daemon(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        thread.start();
    }

    private static void write(Properties connection, String topic, AtomicLongArray written) {
        Properties properties = new Properties();
        properties.putAll(connection);
        properties.put("key.serializer", LongSerializer.class.getName());
        properties.put("value.serializer", LongSerializer.class.getName());
        try (KafkaProducer<Long, Long> producer = new KafkaProducer<>(properties)) {
            while (true) {
                for (int partition = 0; partition < written.length(); partition++) {
                    int to = partition;
                    long sent = System.nanoTime();
                    producer.send(new ProducerRecord<>(topic, to, null, sent), (metadata, failure) -> {
                        if (failure == null) {
                            written.accumulateAndGet(to, sent, Math::max);
                        }
                    });
                }
                Thread.sleep(20);
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static void read(Properties connection, String topic, String group, AtomicLongArray read) {
        Properties properties = new Properties();
        properties.putAll(connection);
        properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("session.timeout.ms", "6000");
        properties.put("heartbeat.interval.ms", "500");
        properties.put("isolation.level", "read_committed");
        properties.put("key.deserializer", LongDeserializer.class.getName());
        properties.put("value.deserializer", LongDeserializer.class.getName());
        try (KafkaConsumer<Long, Long> consumer = new KafkaConsumer<>(properties)) {
            consumer.subscribe(List.of(topic));
            while (true) {
                for (ConsumerRecord<Long, Long> record : consumer.poll(Duration.ofMillis(500))) {
                    read.accumulateAndGet(record.partition(), record.value(), Math::max);
                }
            }
        }
    }
}
