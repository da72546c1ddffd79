-- The company's three tables, and procedures that live through the history of many customers, each row a transaction
-- of its own: ten changes a customer. The identity service's answers, kilobytes in real tables, are left NULL, so that
-- what is measured is changes and not bytes.
CREATE TABLE users (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email_address VARCHAR(255) NOT NULL,
    password VARCHAR(255) NULL,
    is_enabled TINYINT(1) NOT NULL DEFAULT 1,
    status VARCHAR(255) NULL,
    first_name VARCHAR(255) NULL,
    last_name VARCHAR(255) NULL,
    phone_number VARCHAR(255) NULL,
    date_of_birth DATE NULL,
    previous_name VARCHAR(255) NULL,
    current_user_address_id VARCHAR(255) NULL,
    current_user_id_document_id VARCHAR(255) NULL,
    current_signature_file_id VARCHAR(36) NULL,
    notification_channels JSON NULL,
    third_party_claim_partner VARCHAR(255) NULL,
    introducer VARCHAR(255) NOT NULL DEFAULT 'mcc',
    solicitor VARCHAR(255) NULL,
    credit_response_selection_completed TINYINT(1) NOT NULL DEFAULT 0,
    justcall_id INT NULL,
    voluum_click_id VARCHAR(255) NULL,
    pipedrive_id VARCHAR(255) NULL,
    google_drive_link VARCHAR(255) NULL,
    last_login TIMESTAMP NULL,
    remember_token VARCHAR(100) NULL,
    identity_request JSON NULL,
    identity_response JSON NULL,
    address_request JSON NULL,
    address_response JSON NULL,
    credit_response JSON NULL,
    created_at TIMESTAMP NULL,
    updated_at TIMESTAMP NULL
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE claims (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id BIGINT UNSIGNED NOT NULL,
    type VARCHAR(255) NULL,
    status VARCHAR(255) NULL,
    lender VARCHAR(255) NULL,
    solicitor VARCHAR(255) NULL,
    client_last_updated_at TIMESTAMP NULL,
    created_at TIMESTAMP NULL,
    updated_at TIMESTAMP NULL,
    KEY claims_user (user_id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE claim_requirements (
    id CHAR(36) NOT NULL PRIMARY KEY,
    claim_id BIGINT UNSIGNED NOT NULL,
    type VARCHAR(255) NULL,
    status VARCHAR(255) NULL,
    claim_requirement_reason VARCHAR(255) NULL,
    claim_requirement_rejection_reason VARCHAR(255) NULL,
    created_at TIMESTAMP NULL,
    updated_at TIMESTAMP NULL,
    KEY claim_requirements_claim (claim_id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE FUNCTION requirement_id(n BIGINT UNSIGNED)
    RETURNS CHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci DETERMINISTIC NO SQL
    RETURN INSERT(INSERT(INSERT(INSERT(LEFT(SHA2(n, 224), 32), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-');

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
                INSERT INTO users (id, email_address, password, status, first_name, last_name, phone_number,
                    date_of_birth, current_user_address_id, notification_channels, solicitor, justcall_id,
                    google_drive_link, created_at, updated_at)
                VALUES (u, CONCAT('ada.', u, '@example.org'),
                    '$2y$10$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz', 'active', 'Ada',
                    CONCAT('Customer', u), '+49 30 1234567', '1980-02-29', UUID(),
                    '{"language": "de", "channel": "phone"}', 'Solicitors LLP', u % 1000000007,
                    'https://drive.example.org/folders/customer', NOW(), NOW());
            WHEN 1 THEN INSERT INTO claims (id, user_id, type, lender, status, created_at, updated_at)
                VALUES (2 * u, u, 'pcp', 'Bank', 'open', NOW(), NOW());
            WHEN 2 THEN INSERT INTO claims (id, user_id, type, lender, status, created_at, updated_at)
                VALUES (2 * u + 1, u, 'pcp', 'Lender', 'open', NOW(), NOW());
            WHEN 3 THEN INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at)
                VALUES (requirement_id(3 * u), 2 * u, 'identity', 'pending', NOW(), NOW());
            WHEN 4 THEN INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at)
                VALUES (requirement_id(3 * u + 1), 2 * u, 'payslip', 'pending', NOW(), NOW());
            WHEN 5 THEN INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at)
                VALUES (requirement_id(3 * u + 2), 2 * u + 1, 'contract', 'pending', NOW(), NOW());
            WHEN 6 THEN UPDATE users SET current_signature_file_id = u, updated_at = NOW() WHERE id = u;
            WHEN 7 THEN UPDATE claim_requirements SET status = 'approved', updated_at = NOW()
                WHERE claim_id = 2 * u AND type = 'identity';
            WHEN 8 THEN UPDATE claim_requirements SET status = 'approved', updated_at = NOW()
                WHERE claim_id = 2 * u AND type = 'payslip';
            ELSE UPDATE claim_requirements SET status = 'approved', updated_at = NOW()
                WHERE claim_id = 2 * u + 1 AND type = 'contract';
            END CASE;
            SET step = step + 1, changes = changes + 1;
            IF rows_a_transaction > 1 AND changes % rows_a_transaction = 0 THEN COMMIT; END IF;
        END WHILE;
        SET u = u + 1;
    END WHILE;
    COMMIT;
    SET autocommit = 1;
END //

-- The same, and after it ten updates a customer that change no captured column but updated_at.
CREATE PROCEDURE live_touched(first_user BIGINT, past_user BIGINT, rows_a_transaction INT)
BEGIN
    DECLARE u BIGINT DEFAULT first_user;
    DECLARE touch INT;
    WHILE u < past_user DO
        CALL live(u, u + 1, rows_a_transaction);
        SET touch = 0;
        WHILE touch < 10 DO
            CASE
            WHEN touch < 5 THEN UPDATE users SET last_login = created_at + INTERVAL touch + 1 HOUR,
                updated_at = created_at + INTERVAL touch + 1 HOUR WHERE id = u;
            WHEN touch < 7 THEN UPDATE claims SET client_last_updated_at = created_at + INTERVAL touch HOUR,
                updated_at = created_at + INTERVAL touch HOUR WHERE id = 2 * u + touch - 5;
            ELSE UPDATE claim_requirements SET claim_requirement_rejection_reason = CONCAT('page ', touch),
                updated_at = created_at + INTERVAL touch HOUR WHERE id = requirement_id(3 * u + touch - 7);
            END CASE;
            SET touch = touch + 1;
        END WHILE;
        SET u = u + 1;
    END WHILE;
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
        INSERT INTO users (id, email_address, password, status, first_name, last_name, phone_number, date_of_birth,
            current_user_address_id, notification_channels, solicitor, justcall_id, google_drive_link, created_at,
            updated_at)
        SELECT u + n, CONCAT('ada.', u + n, '@example.org'),
            '$2y$10$abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz', 'active', 'Ada', CONCAT('Customer', u + n),
            '+49 30 1234567', '1980-02-29', UUID(), '{"language": "de", "channel": "phone"}', 'Solicitors LLP',
            (u + n) % 1000000007, 'https://drive.example.org/folders/customer', NOW(), NOW() FROM n WHERE u + n < past;
        INSERT INTO claims (id, user_id, type, lender, status, created_at, updated_at)
            SELECT 2 * (u + n), u + n, 'pcp', 'Bank', 'open', NOW(), NOW() FROM n WHERE u + n < past;
        INSERT INTO claims (id, user_id, type, lender, status, created_at, updated_at)
            SELECT 2 * (u + n) + 1, u + n, 'pcp', 'Lender', 'open', NOW(), NOW() FROM n WHERE u + n < past;
        INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at)
            SELECT requirement_id(3 * (u + n)), 2 * (u + n), 'identity', 'pending', NOW(), NOW() FROM n
            WHERE u + n < past;
        INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at)
            SELECT requirement_id(3 * (u + n) + 1), 2 * (u + n), 'payslip', 'pending', NOW(), NOW() FROM n
            WHERE u + n < past;
        INSERT INTO claim_requirements (id, claim_id, type, status, created_at, updated_at)
            SELECT requirement_id(3 * (u + n) + 2), 2 * (u + n) + 1, 'contract', 'pending', NOW(), NOW() FROM n
            WHERE u + n < past;
        UPDATE users SET current_signature_file_id = id, updated_at = NOW() WHERE id >= u AND id < past;
        UPDATE claim_requirements SET status = 'approved', updated_at = NOW()
            WHERE claim_id >= 2 * u AND claim_id < 2 * past AND type = 'identity';
        UPDATE claim_requirements SET status = 'approved', updated_at = NOW()
            WHERE claim_id >= 2 * u AND claim_id < 2 * past AND type = 'payslip';
        UPDATE claim_requirements SET status = 'approved', updated_at = NOW()
            WHERE claim_id >= 2 * u AND claim_id < 2 * past AND type = 'contract';
        SET u = past;
    END WHILE;
    DROP TEMPORARY TABLE n;
END //
DELIMITER ;
