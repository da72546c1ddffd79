-- Stand-ins for the call centre's tables, so that `docker compose up` has somewhere to write. A real call centre has its
-- own, with more columns and other owners. As Prisma makes them: ids and updated_at have no default in the database, the
-- application sets them; times are UTC without a zone.
CREATE TABLE agents (
    id serial PRIMARY KEY,
    email text NOT NULL UNIQUE,
    first_name text NOT NULL,
    last_name text NOT NULL,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp(3) NOT NULL
);
CREATE TABLE user_call_scores (
    id uuid NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL UNIQUE,
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
CREATE INDEX user_call_scores_next_call_after_current_score_idx ON user_call_scores (next_call_after, current_score);
CREATE INDEX user_call_scores_is_active_current_score_idx ON user_call_scores (is_active, current_score);
CREATE INDEX user_call_scores_current_queue_type_current_score_idx
    ON user_call_scores (current_queue_type, current_score);
CREATE TABLE conversions (
    id uuid NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL,
    previous_queue_type text NOT NULL,
    conversion_type text NOT NULL,
    conversion_reason text,
    final_score int,
    total_call_attempts int NOT NULL DEFAULT 0,
    last_call_at timestamp(3),
    converted_at timestamp(3) NOT NULL,
    primary_agent_id int REFERENCES agents (id) ON DELETE SET NULL ON UPDATE CASCADE,
    contributing_agents jsonb,
    documents_received jsonb,
    signature_obtained bool NOT NULL DEFAULT false,
    requirements_met jsonb,
    claim_value decimal(10, 2),
    estimated_commission decimal(10, 2)
);
CREATE TABLE callbacks (
    id uuid NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES user_call_scores (user_id) ON DELETE RESTRICT ON UPDATE CASCADE,
    scheduled_for timestamp(3) NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp(3) NOT NULL
);
CREATE TABLE call_queue (
    id uuid NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES user_call_scores (user_id) ON DELETE RESTRICT ON UPDATE CASCADE,
    claim_id bigint,
    queue_type text NOT NULL,
    priority_score int NOT NULL DEFAULT 0,
    queue_position int,
    status text NOT NULL DEFAULT 'pending',
    queue_reason text,
    assigned_to_agent_id int REFERENCES agents (id) ON DELETE SET NULL ON UPDATE CASCADE,
    assigned_at timestamp(3),
    callback_id uuid REFERENCES callbacks (id) ON DELETE SET NULL ON UPDATE CASCADE,
    available_from timestamp(3),
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp(3) NOT NULL
);
CREATE INDEX call_queue_status_priority_score_created_at_idx ON call_queue (status, priority_score, created_at);
CREATE TABLE call_sessions (
    id uuid NOT NULL PRIMARY KEY,
    user_id bigint NOT NULL,
    agent_id int NOT NULL REFERENCES agents (id) ON DELETE RESTRICT ON UPDATE CASCADE,
    call_queue_id uuid REFERENCES call_queue (id) ON DELETE SET NULL ON UPDATE CASCADE,
    status text NOT NULL,
    started_at timestamp(3) NOT NULL,
    connected_at timestamp(3),
    ended_at timestamp(3),
    duration_seconds int,
    talk_time_seconds int,
    call_score int NOT NULL DEFAULT 0,
    last_outcome_type text,
    last_outcome_agent_id int REFERENCES agents (id) ON DELETE SET NULL ON UPDATE CASCADE,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp(3) NOT NULL
);
CREATE INDEX call_sessions_user_id_idx ON call_sessions (user_id);
