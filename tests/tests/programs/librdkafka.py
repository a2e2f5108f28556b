"""One round through the broker: settings as name=value arguments; says so when all was well."""

import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

WITHIN = 30
settings = dict(argument.split("=", 1) for argument in sys.argv[1:])


def wait(futures):
    for future in futures.values():
        future.result(WITHIN)


admin = AdminClient(settings)
wait(admin.create_topics([NewTopic("t", 2, 2)]))
wait(admin.create_partitions([NewPartitions("t", 3)]))

refused = []
producer = Producer(settings | {"enable.idempotence": True, "compression.type": "lz4"})
for index in range(500):
    producer.produce(
        "t",
        key=f"k{index}",
        value=f"v{index}",
        headers=[("h", b"1"), ("h", None)],
        on_delivery=lambda error, _: refused.append(error) if error else None,
    )
assert producer.flush(WITHIN) == 0
assert not refused, refused[0]

group = {"group.id": "g", "auto.offset.reset": "earliest", "enable.auto.commit": False}
members = [Consumer(settings | group) for _ in range(2)]
for member in members:
    member.subscribe(["t"])
read = {}
while len(read) < 500:
    for member in members:
        for message in member.consume(100, 0.2):
            assert message.error() is None, message.error()
            assert message.headers() == [("h", b"1"), ("h", None)]
            read[message.key()] = message.value()
for member in members:
    if member.assignment():
        member.commit(offsets=member.position(member.assignment()), asynchronous=False)
    member.close()
assert read == {f"k{i}".encode(): f"v{i}".encode() for i in range(500)}

places = [TopicPartition("t", index) for index in range(3)]
last = Consumer(settings | group)
ends = [last.get_watermark_offsets(place, WITHIN)[1] for place in places]
assert sum(ends) == 500
assert [place.offset for place in last.committed(places, WITHIN)] == ends
last.close()

assert [found.group_id for found in admin.list_consumer_groups().result(WITHIN).valid] == ["g"]
wait(admin.delete_consumer_groups(["g"]))
wait(admin.delete_topics(["t"]))
print("all is well")
