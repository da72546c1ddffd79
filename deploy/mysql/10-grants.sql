-- The least that leadstream needs on the replica: its three tables to read, and the binlog.
-- Change the password, or let your secret store set it.
CREATE DATABASE IF NOT EXISTS company;
CREATE USER IF NOT EXISTS 'leadstream'@'%' IDENTIFIED BY 'leadstream';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'leadstream'@'%';
GRANT SELECT ON company.* TO 'leadstream'@'%';
