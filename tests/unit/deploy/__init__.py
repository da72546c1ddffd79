"""What is written for Prometheus and Grafana."""
