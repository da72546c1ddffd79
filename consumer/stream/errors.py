"""What can go wrong between us and Kafka; each message is one sentence naming the thing, the place and a hint."""

from __future__ import annotations


class StreamError(Exception):
    """A failure to write to Kafka or to read from it."""


class KafkaLost(StreamError):
    """A Kafka that did not answer, or ended our transaction; trying again from the last checkpoint may help."""


class KafkaRefused(StreamError):
    """A Kafka that does not let us in: a wrong password, or a certificate that it does not know."""


class ReaderFenced(StreamError):
    """Another reader with the same transactional ids, which took over."""


class TopicMismatch(StreamError):
    """A topic with other settings than this configuration needs."""


class NoCheckpoint(StreamError):
    """A checkpoints topic that is missing or empty: nothing says yet where to start."""


class WrongDatabase(StreamError):
    """A stream that is that of another database."""


class CheckpointUnreadable(StreamError):
    """A last checkpoint that is not one of ours, or does not fit the configuration."""


class NotCoPartitioned(StreamError):
    """A lane's partitions, given to different processes."""


class ConsumerFailed(StreamError):
    """A librdkafka that refuses its settings or gave up; only a new process helps."""
