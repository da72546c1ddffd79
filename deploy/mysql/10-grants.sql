-- The least that leadstream needs on the replica: to follow the binlog, and to read the columns that it captures. No
-- query of its can see names, addresses or passwords; what following the binlog means, SECURITY.md says.
-- Change `company` to your database, and the password, or let your secret store set it. A column that your table lacks
-- (is_enabled, created_at, updated_at, claim_requirement_reason may be absent) is left out. MariaDB: deploy/mariadb.
CREATE USER IF NOT EXISTS 'leadstream'@'%' IDENTIFIED BY 'leadstream';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'leadstream'@'%';
GRANT SELECT (id, current_signature_file_id, is_enabled, created_at, updated_at)
    ON company.users TO 'leadstream'@'%';
GRANT SELECT (id, user_id, status, created_at, updated_at)
    ON company.claims TO 'leadstream'@'%';
GRANT SELECT (id, claim_id, type, status, claim_requirement_reason, created_at, updated_at)
    ON company.claim_requirements TO 'leadstream'@'%';
