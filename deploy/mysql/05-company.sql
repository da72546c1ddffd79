-- Stand-ins for the company's tables, so that `docker compose up` has something to follow. A real replica has its own.
-- `created_at` and `updated_at` are set by the company's application.
CREATE DATABASE IF NOT EXISTS company DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
USE company;
CREATE TABLE IF NOT EXISTS users (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
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
    updated_at TIMESTAMP NULL,
    PRIMARY KEY (id),
    KEY users_email_address_index (email_address)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE TABLE IF NOT EXISTS claims (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    user_id BIGINT UNSIGNED NOT NULL,
    type VARCHAR(255) NULL,
    status VARCHAR(255) NULL,
    lender VARCHAR(255) NULL,
    solicitor VARCHAR(255) NULL,
    client_last_updated_at TIMESTAMP NULL,
    created_at TIMESTAMP NULL,
    updated_at TIMESTAMP NULL,
    PRIMARY KEY (id),
    KEY claims_user_id_index (user_id),
    CONSTRAINT claims_user_id_foreign FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE TABLE IF NOT EXISTS claim_requirements (
    id CHAR(36) NOT NULL,
    claim_id BIGINT UNSIGNED NOT NULL,
    type VARCHAR(255) NULL,
    status VARCHAR(255) NULL,
    claim_requirement_reason VARCHAR(255) NULL,
    claim_requirement_rejection_reason VARCHAR(255) NULL,
    created_at TIMESTAMP NULL,
    updated_at TIMESTAMP NULL,
    PRIMARY KEY (id),
    KEY claim_requirements_claim_id_index (claim_id),
    CONSTRAINT claim_requirements_claim_id_foreign FOREIGN KEY (claim_id) REFERENCES claims (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
