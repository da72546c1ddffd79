-- Requirements with numbers instead of UUIDs, the rest as in history.sql.
ALTER TABLE claim_requirements MODIFY id BIGINT UNSIGNED NOT NULL;
DROP FUNCTION requirement_id;
CREATE FUNCTION requirement_id(n BIGINT UNSIGNED) RETURNS BIGINT UNSIGNED DETERMINISTIC NO SQL RETURN n;
