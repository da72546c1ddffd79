"""What operators see of the running system: Prometheus, its alerts, and the dashboards' queries."""
