"""What lies in Kafka: the message, the lanes, and what the reader must remember."""
