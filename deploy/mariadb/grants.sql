-- As deploy/mysql/10-grants.sql, in MariaDB's words: BINLOG MONITOR shows where the binlog ends, SLAVE MONITOR how far
-- the replica is behind its source. REFERENCES shows the foreign keys, and no data.
CREATE USER IF NOT EXISTS 'leadstream'@'%' IDENTIFIED BY 'leadstream';
GRANT REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.* TO 'leadstream'@'%';
GRANT SELECT (id, current_signature_file_id, is_enabled, created_at, updated_at)
    ON company.users TO 'leadstream'@'%';
GRANT SELECT (id, user_id, status, created_at, updated_at)
    ON company.claims TO 'leadstream'@'%';
GRANT SELECT (id, claim_id, type, status, claim_requirement_reason, created_at, updated_at)
    ON company.claim_requirements TO 'leadstream'@'%';
GRANT REFERENCES ON company.claims TO 'leadstream'@'%';
GRANT REFERENCES ON company.claim_requirements TO 'leadstream'@'%';
