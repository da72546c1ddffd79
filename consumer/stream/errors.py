"""What can go wrong between us and Kafka; each message is one sentence naming the thing, the place and a hint."""

from __future__ import annotations


class StreamError(Exception):
    """Writing to Kafka or reading from it failed."""


class KafkaLost(StreamError):
    """Kafka did not answer, or ended our transaction; trying again from the last checkpoint may help."""


class KafkaRefused(StreamError):
    """Kafka does not let us in: a wrong password, or a certificate that it does not know."""


class ReaderFenced(StreamError):
    """Another reader with the same transactional ids took over."""


class TopicMismatch(StreamError):
    """A topic exists with other settings than this configuration needs."""


class NoCheckpoint(StreamError):
    """The checkpoints topic is missing or empty: nobody said yet where to start."""


class WrongDatabase(StreamError):
    """The stream is that of another database."""


class CheckpointUnreadable(StreamError):
    """The last checkpoint is not one of ours, or does not fit the configuration."""


class NotCoPartitioned(StreamError):
    """A lane's partitions were given to different processes."""


class ConsumerFailed(StreamError):
    """librdkafka refuses its settings or gave up; only a new process helps."""
