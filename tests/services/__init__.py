"""Real servers for tests: a Kafka broker and a Redis server, on loopback, ended with the tests."""
