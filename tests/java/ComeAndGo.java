import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Ten of Kafka's own consumers that join a group and leave it by a schedule made up from a seed, and how long partitions
 * were nobody's meanwhile.
 *
 * Arguments: properties of the connection, topic, group, seconds, seed, then NAME=VALUE for each consumer. The one line
 * of output: joins, leaves, the longest time in milliseconds that a partition had no owner, and the share in percent.
 */
public class ComeAndGo {
    private static final int MEMBERS = 10;

    /** SplitMix64. */
    private static final class Dice {
        private long state;

        Dice(long seed) {
            state = seed;
        }

        int below(int bound) {
            state += 0x9e3779b97f4a7c15L;
            long mixed = state;
            mixed = (mixed ^ (mixed >>> 30)) * 0xbf58476d1ce4e5b9L;
            mixed = (mixed ^ (mixed >>> 27)) * 0x94d049bb133111ebL;
            return (int) Long.remainderUnsigned(mixed ^ (mixed >>> 31), bound);
        }
    }

    /** When each partition got an owner, and lost it. */
    private static final class Ledger {
        private record Hold(long began, long[] ended) {}

        private final Map<Integer, List<Hold>> holds = new TreeMap<>();

        synchronized void begins(Collection<TopicPartition> partitions) {
            for (TopicPartition one : partitions) {
                List<Hold> list = holds.computeIfAbsent(one.partition(), key -> new ArrayList<>());
                list.add(new Hold(System.nanoTime(), new long[1]));
            }
        }

        synchronized void ends(Collection<TopicPartition> partitions) {
            for (TopicPartition one : partitions) {
                List<Hold> list = holds.getOrDefault(one.partition(), List.of());
                if (!list.isEmpty() && list.get(list.size() - 1).ended()[0] == 0) {
                    list.get(list.size() - 1).ended()[0] = System.nanoTime();
                }
            }
        }

        synchronized String withoutOwner() {
            long now = System.nanoTime();
            long longest = 0;
            double without = 0;
            double all = 0;
            for (List<Hold> list : holds.values()) {
                for (int next = 1; next < list.size(); next++) {
                    long ended = list.get(next - 1).ended()[0];
                    long gap = ended == 0 ? 0 : Math.max(0, list.get(next).began() - ended);
                    longest = Math.max(longest, gap);
                    without += gap;
                }
                long last = list.get(list.size() - 1).ended()[0];
                all += (last == 0 ? now : last) - list.get(0).began();
            }
            return longest / 1_000_000 + " " + String.format("%.2f", 100 * without / all);
        }
    }

    private static final class Member {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Thread thread;
        private volatile boolean leaves;

        Member(Properties properties, String topic, Ledger ledger) {
            consumer = new KafkaConsumer<>(properties);
            thread = new Thread(() -> work(topic, ledger));
            thread.start();
        }

        private void work(String topic, Ledger ledger) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    try {
                        consumer.commitSync();
                    } catch (KafkaException lostOrWoken) {
                        // Nothing is handled here, so that nothing is lost with it; who was woken sees that it is to leave.
                    }
                    ledger.ends(partitions);
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    ledger.begins(partitions);
                }

                @Override
                public void onPartitionsLost(Collection<TopicPartition> partitions) {
                    ledger.ends(partitions);
                }
            });
            while (!leaves) {
                try {
                    consumer.poll(Duration.ofMillis(100));
                } catch (WakeupException asked) {
                    // It is to leave.
                }
            }
            consumer.close();
        }

        void leave() {
            leaves = true;
            consumer.wakeup();
        }

        void left() throws InterruptedException {
            thread.join();
        }
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(arguments[0]))) {
            properties.load(reader);
        }
        properties.put("group.id", arguments[2]);
        properties.put("auto.offset.reset", "earliest");
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        for (String setting : List.of(arguments).subList(5, arguments.length)) {
            String[] parts = setting.split("=", 2);
            properties.put(parts[0], parts[1]);
        }
        Ledger ledger = new Ledger();
        Dice dice = new Dice(Long.parseUnsignedLong(arguments[4]));
        Member[] members = new Member[MEMBERS];
        List<Member> leaving = new ArrayList<>();
        int joins = 0;
        int leaves = 0;
        for (int member = 0; member < MEMBERS / 2; member++) {
            joins++;
            members[member] = new Member(properties, arguments[1], ledger);
        }
        long end = System.nanoTime() + Long.parseLong(arguments[3]) * 1_000_000_000L;
        while (System.nanoTime() - end < 0) {
            Thread.sleep(50 + dice.below(700));
            int at = dice.below(MEMBERS);
            if (members[at] == null) {
                joins++;
                members[at] = new Member(properties, arguments[1], ledger);
            } else {
                leaves++;
                members[at].leave();
                leaving.add(members[at]);
                members[at] = null;
            }
        }
        String without = ledger.withoutOwner();
        for (Member member : members) {
            if (member != null) {
                member.leave();
                leaving.add(member);
            }
        }
        for (Member member : leaving) {
            member.left();
        }
        System.out.println(joins + " " + leaves + " " + without);
    }
}
