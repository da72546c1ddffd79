"""The call centre's tables as a real company has them: made by Prisma, with agents, callbacks and sessions."""

from __future__ import annotations

from typing import Final

COMPANY: Final = """
CREATE TABLE agents (
    id serial PRIMARY KEY, email text NOT NULL UNIQUE, first_name text NOT NULL, last_name text NOT NULL,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at timestamp(3) NOT NULL
);
CREATE TABLE callbacks (id uuid PRIMARY KEY, user_id bigint NOT NULL, due_at timestamp(3) NOT NULL);
CREATE TABLE user_call_scores (
    id uuid NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL,
    current_score int NOT NULL DEFAULT 0,
    next_call_after timestamp(3),
    last_call_at timestamp(3),
    total_attempts int NOT NULL DEFAULT 0,
    successful_calls int NOT NULL DEFAULT 0,
    last_outcome text,
    base_score int NOT NULL DEFAULT 0,
    outcome_penalty_score int NOT NULL DEFAULT 0,
    time_penalty_score int NOT NULL DEFAULT 0,
    is_active bool NOT NULL DEFAULT true,
    current_queue_type text,
    last_reset_date timestamp(3),
    last_queue_check timestamp(3),
    created_at timestamp(3) NOT NULL DEFAULT now(),
    updated_at timestamp(3) NOT NULL
);
CREATE UNIQUE INDEX user_call_scores_user_id_key ON user_call_scores (user_id);
CREATE INDEX ON user_call_scores (next_call_after, current_score);
CREATE INDEX ON user_call_scores (is_active, current_score);
CREATE INDEX ON user_call_scores (current_queue_type, current_score);
CREATE TABLE call_queue (
    id uuid NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES user_call_scores (user_id) ON DELETE RESTRICT ON UPDATE CASCADE,
    claim_id bigint,
    queue_type text NOT NULL,
    priority_score int NOT NULL DEFAULT 0,
    queue_position int,
    status text NOT NULL DEFAULT 'pending',
    queue_reason text,
    assigned_to_agent_id int REFERENCES agents (id) ON DELETE SET NULL,
    assigned_at timestamp(3),
    callback_id uuid REFERENCES callbacks (id) ON DELETE SET NULL,
    available_from timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp(3) NOT NULL
);
CREATE INDEX ON call_queue (status, priority_score, created_at);
CREATE TABLE call_sessions (
    id uuid NOT NULL PRIMARY KEY, user_id bigint NOT NULL, agent_id int REFERENCES agents (id),
    call_queue_id uuid REFERENCES call_queue (id), status text NOT NULL, started_at timestamp(3) NOT NULL,
    connected_at timestamp(3), ended_at timestamp(3), duration_seconds int, talk_time_seconds int, call_score int,
    last_outcome_agent_id int
);
CREATE TABLE conversions (
    id uuid NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL,
    previous_queue_type text NOT NULL,
    conversion_type text NOT NULL,
    conversion_reason text,
    final_score int,
    total_call_attempts int NOT NULL DEFAULT 0,
    last_call_at timestamp(3),
    converted_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    primary_agent_id int REFERENCES agents (id) ON DELETE SET NULL,
    contributing_agents jsonb,
    documents_received jsonb,
    signature_obtained bool NOT NULL DEFAULT false,
    requirements_met jsonb,
    claim_value decimal(10, 2),
    estimated_commission decimal(10, 2)
);
"""
STAMPED: Final = """
ALTER TABLE conversions ADD COLUMN created_at timestamp(3) NOT NULL, ADD COLUMN updated_at timestamp(3) NOT NULL
"""
"""Such a call centre has them in every table."""
PARTITIONED: Final = """
ALTER TABLE conversions RENAME TO whole;
CREATE TABLE conversions (LIKE whole INCLUDING DEFAULTS) PARTITION BY RANGE (converted_at);
ALTER TABLE conversions ADD PRIMARY KEY (id, converted_at);
CREATE TABLE conversions_2023 PARTITION OF conversions FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE conversions_rest PARTITION OF conversions DEFAULT;
DROP TABLE whole
"""
"""Conversions by year."""
