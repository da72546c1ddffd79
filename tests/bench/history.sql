-- The company's three tables and a procedure that lives through the history of many customers, each row a
-- transaction of its own: ten changes a customer.
CREATE TABLE users (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    uuid CHAR(36) NOT NULL,
    title ENUM('mr', 'mrs', 'ms', 'dr') NULL,
    first_name VARCHAR(80) NOT NULL,
    last_name VARCHAR(80) NOT NULL,
    email VARCHAR(255) NOT NULL,
    email_verified_at TIMESTAMP NULL,
    password VARCHAR(255) NOT NULL,
    remember_token VARCHAR(100) NULL,
    phone VARCHAR(32) NULL,
    birth_date DATE NULL,
    street VARCHAR(160) NULL,
    house_number VARCHAR(16) NULL,
    postcode VARCHAR(16) NULL,
    city VARCHAR(80) NULL,
    country CHAR(2) NULL,
    iban VARCHAR(34) NULL,
    marketing_consent TINYINT(1) NOT NULL DEFAULT 0,
    credit DECIMAL(10, 2) NULL,
    preferences JSON NULL,
    notes TEXT NULL,
    current_signature_file_id BIGINT UNSIGNED NULL,
    is_enabled TINYINT(1) NOT NULL DEFAULT 1,
    last_login_at DATETIME(3) NULL,
    created_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE claims (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT UNSIGNED NOT NULL,
    lender VARCHAR(80) NOT NULL,
    amount DECIMAL(12, 2) NULL,
    status VARCHAR(32) NOT NULL,
    created_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    KEY claims_user (user_id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE claim_requirements (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    claim_id BIGINT UNSIGNED NOT NULL,
    type VARCHAR(64) NOT NULL,
    status VARCHAR(32) NOT NULL,
    claim_requirement_reason VARCHAR(255) NULL,
    created_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    KEY claim_requirements_claim (claim_id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

DELIMITER //
CREATE PROCEDURE live(first_user BIGINT, past_user BIGINT, rows_a_transaction INT)
BEGIN
    DECLARE u BIGINT DEFAULT first_user;
    DECLARE changes INT DEFAULT 0;
    DECLARE step INT;
    IF rows_a_transaction > 1 THEN SET autocommit = 0; END IF;
    WHILE u < past_user DO
        SET step = 0;
        WHILE step < 10 DO
            CASE step
            WHEN 0 THEN
                INSERT INTO users (id, uuid, title, first_name, last_name, email, password, phone, birth_date, street,
                    house_number, postcode, city, country, iban, credit, preferences, notes)
                VALUES (u, UUID(), 'mrs', 'Ada', CONCAT('Customer', u), CONCAT('ada.', u, '@example.org'),
                    '$2y$10$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz', '+49 30 1234567', '1980-02-29',
                    'Musterstraße', '12a', '10115', 'Berlin', 'DE', 'DE02120300000000202051', 12.34,
                    '{"language": "de", "channel": "phone"}', 'calls back in the evening');
            WHEN 1 THEN INSERT INTO claims (id, user_id, lender, amount, status) VALUES (2 * u, u, 'Bank', 100.50, 'open');
            WHEN 2 THEN INSERT INTO claims (id, user_id, lender, amount, status) VALUES (2 * u + 1, u, 'Lender', 7, 'open');
            WHEN 3 THEN INSERT INTO claim_requirements (id, claim_id, type, status)
                VALUES (3 * u, 2 * u, 'identity', 'pending');
            WHEN 4 THEN INSERT INTO claim_requirements (id, claim_id, type, status)
                VALUES (3 * u + 1, 2 * u, 'payslip', 'pending');
            WHEN 5 THEN INSERT INTO claim_requirements (id, claim_id, type, status)
                VALUES (3 * u + 2, 2 * u + 1, 'contract', 'pending');
            WHEN 6 THEN UPDATE users SET current_signature_file_id = u WHERE id = u;
            WHEN 7 THEN UPDATE claim_requirements SET status = 'approved' WHERE id = 3 * u;
            WHEN 8 THEN UPDATE claim_requirements SET status = 'approved' WHERE id = 3 * u + 1;
            ELSE UPDATE claim_requirements SET status = 'approved' WHERE id = 3 * u + 2;
            END CASE;
            SET step = step + 1, changes = changes + 1;
            IF rows_a_transaction > 1 AND changes % rows_a_transaction = 0 THEN COMMIT; END IF;
        END WHILE;
        SET u = u + 1;
    END WHILE;
    COMMIT;
    SET autocommit = 1;
END //

CREATE PROCEDURE live_side_by_side(first_user BIGINT, past_user BIGINT, customers INT)
BEGIN
    DECLARE u BIGINT DEFAULT first_user;
    DECLARE past BIGINT;
    CREATE TEMPORARY TABLE n (n INT PRIMARY KEY)
        WITH RECURSIVE counted AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < customers)
        SELECT n FROM counted;
    WHILE u < past_user DO
        SET past = LEAST(u + customers, past_user);
        INSERT INTO users (id, uuid, title, first_name, last_name, email, password, phone, birth_date, street,
            house_number, postcode, city, country, iban, credit, preferences, notes)
        SELECT u + n, UUID(), 'mrs', 'Ada', CONCAT('Customer', u + n), CONCAT('ada.', u + n, '@example.org'),
            '$2y$10$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz', '+49 30 1234567', '1980-02-29',
            'Musterstraße', '12a', '10115', 'Berlin', 'DE', 'DE02120300000000202051', 12.34,
            '{"language": "de", "channel": "phone"}', 'calls back in the evening' FROM n WHERE u + n < past;
        INSERT INTO claims (id, user_id, lender, amount, status)
            SELECT 2 * (u + n), u + n, 'Bank', 100.50, 'open' FROM n WHERE u + n < past;
        INSERT INTO claims (id, user_id, lender, amount, status)
            SELECT 2 * (u + n) + 1, u + n, 'Lender', 7, 'open' FROM n WHERE u + n < past;
        INSERT INTO claim_requirements (id, claim_id, type, status)
            SELECT 3 * (u + n), 2 * (u + n), 'identity', 'pending' FROM n WHERE u + n < past;
        INSERT INTO claim_requirements (id, claim_id, type, status)
            SELECT 3 * (u + n) + 1, 2 * (u + n), 'payslip', 'pending' FROM n WHERE u + n < past;
        INSERT INTO claim_requirements (id, claim_id, type, status)
            SELECT 3 * (u + n) + 2, 2 * (u + n) + 1, 'contract', 'pending' FROM n WHERE u + n < past;
        UPDATE users SET current_signature_file_id = id WHERE id >= u AND id < past;
        UPDATE claim_requirements SET status = 'approved' WHERE id >= 3 * u AND id < 3 * past AND id % 3 = 0;
        UPDATE claim_requirements SET status = 'approved' WHERE id >= 3 * u AND id < 3 * past AND id % 3 = 1;
        UPDATE claim_requirements SET status = 'approved' WHERE id >= 3 * u AND id < 3 * past AND id % 3 = 2;
        SET u = past;
    END WHILE;
    DROP TEMPORARY TABLE n;
END //
DELIMITER ;
