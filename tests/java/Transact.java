import java.io.BufferedReader;
import java.io.FileReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import java.util.Properties;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Does with a transactional producer what it is told on standard input, in partition 0: java Transact.java PROPERTIES TOPIC
 *
 * `begin`, `write KEY VALUE NAME=VALUE…` (all but header names in hex), `commit` and `abort`; prints `done` after each,
 * when what was written is in the log.
 */
public class Transact {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        try (FileReader reader = new FileReader(args[0])) {
            properties.load(reader);
        }
        properties.put("transactional.id", args[1]);
        ByteArraySerializer bytes = new ByteArraySerializer();
        BufferedReader told = new BufferedReader(new InputStreamReader(System.in));
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties, bytes, bytes)) {
            producer.initTransactions();
            for (String line = told.readLine(); line != null; line = told.readLine()) {
                String[] words = line.split(" ");
                switch (words[0]) {
                    case "begin" -> producer.beginTransaction();
                    case "write" -> {
                        producer.send(record(args[1], words)).get();
                    }
                    case "commit" -> producer.commitTransaction();
                    case "abort" -> producer.abortTransaction();
                    default -> throw new IllegalArgumentException(line);
                }
                System.out.println("done");
                System.out.flush();
            }
        }
    }

    static ProducerRecord<byte[], byte[]> record(String topic, String[] words) {
        HexFormat hex = HexFormat.of();
        ProducerRecord<byte[], byte[]> record =
                new ProducerRecord<>(topic, 0, hex.parseHex(words[1]), hex.parseHex(words[2]));
        for (int at = 3; at < words.length; at++) {
            String[] header = words[at].split("=");
            record.headers().add(header[0], hex.parseHex(header[1]));
        }
        return record;
    }
}
