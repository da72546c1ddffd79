-- Stand-ins for the call centre's tables, so that `docker compose up` has somewhere to write. A real call centre has its
-- own, with more columns and other owners.
CREATE TABLE user_call_scores (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id bigint NOT NULL UNIQUE,
    current_score int NOT NULL DEFAULT 0,
    next_call_after timestamp,
    last_call_at timestamp,
    total_attempts int NOT NULL DEFAULT 0,
    successful_calls int NOT NULL DEFAULT 0,
    last_outcome text,
    base_score int NOT NULL DEFAULT 0,
    outcome_penalty_score int NOT NULL DEFAULT 0,
    time_penalty_score int NOT NULL DEFAULT 0,
    is_active bool NOT NULL DEFAULT true,
    current_queue_type text,
    last_reset_date timestamp,
    last_queue_check timestamp,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE conversions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id bigint NOT NULL,
    previous_queue_type text,
    conversion_type text NOT NULL,
    conversion_reason text,
    final_score int,
    total_call_attempts int,
    last_call_at timestamp,
    converted_at timestamp NOT NULL,
    primary_agent_id int,
    contributing_agents json,
    documents_received json,
    signature_obtained bool,
    requirements_met json,
    claim_value decimal(10, 2),
    estimated_commission decimal(10, 2)
);
CREATE TABLE call_queue (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id bigint NOT NULL REFERENCES user_call_scores (user_id),
    claim_id bigint,
    queue_type text,
    priority_score int DEFAULT 0,
    queue_position int,
    status text NOT NULL DEFAULT 'pending',
    queue_reason text,
    assigned_to_agent_id int,
    assigned_at timestamp,
    callback_id uuid,
    available_from timestamp,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
