-- The least that leadstream needs on the replica: the binlog, and its three tables to read.
-- Change `company` to your database, and the password, or let your secret store set it.
CREATE USER IF NOT EXISTS 'leadstream'@'%' IDENTIFIED BY 'leadstream';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'leadstream'@'%';
GRANT SELECT ON company.users TO 'leadstream'@'%';
GRANT SELECT ON company.claims TO 'leadstream'@'%';
GRANT SELECT ON company.claim_requirements TO 'leadstream'@'%';
