//! The tables as Diesel sees them; `cargo xtask schema --check` compares them with the migrations.
#![allow(
    missing_docs,
    reason = "the columns are described in the migrations and the row types"
)]

diesel::table! {
    machines (machine_id) {
        machine_id -> Uuid,
        machine_created_at -> Timestamptz,
        machine_version -> Int8,
    }
}

diesel::table! {
    sessions (session_id) {
        session_id -> Uuid,
        session_component_name -> Text,
        session_runtime_info -> Text,
        session_created_at -> Timestamptz,
        session_interval_seconds -> Int8,
        session_deadline -> Timestamptz,
    }
}

diesel::table! {
    process_def (process) {
        process -> Text,
        lane -> Text,
        workflow -> Nullable<Text>,
        time_driven -> Bool,
        loss_initial_seconds -> Int8,
        loss_maximum_seconds -> Int8,
        rest_initial_seconds -> Int8,
        rest_maximum_seconds -> Int8,
        flapping_within_seconds -> Int8,
        off_workflow -> Nullable<Text>,
        off_time_driven -> Bool,
    }
}

diesel::table! {
    work_item (machine_id, process) {
        machine_id -> Uuid,
        process -> Text,
        lane -> Text,
        provider -> Nullable<Text>,
        eligible -> Bool,
        plan_at -> Nullable<Timestamptz>,
        backoff_until -> Nullable<Timestamptz>,
        ready_at -> Nullable<Timestamptz>,
        session_id -> Nullable<Uuid>,
        started_at -> Nullable<Timestamptz>,
        fence -> Int8,
        failures -> Int8,
        losses -> Int8,
        cause -> Nullable<Text>,
        last_interval_seconds -> Nullable<Int8>,
        slots -> Nullable<Array<Int8>>,
        unproductive -> Int8,
        flapping -> Int8,
        finished_at -> Nullable<Timestamptz>,
        hold_reason -> Nullable<Text>,
        hold_since -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    work_attempt (machine_id, fence) {
        machine_id -> Uuid,
        fence -> Int8,
        last_fence -> Int8,
        process -> Text,
        session_id -> Uuid,
        started_at -> Timestamptz,
        ended_at -> Timestamptz,
        outcome -> Text,
        cause -> Nullable<Text>,
        repeats -> Int8,
        interval_seconds -> Nullable<Int8>,
    }
}

diesel::table! {
    work_backoff (machine_id, process) {
        machine_id -> Uuid,
        process -> Text,
        until -> Timestamptz,
        cause -> Nullable<Text>,
        last_interval_seconds -> Nullable<Int8>,
    }
}

diesel::table! {
    work_history (machine_id, timestamp, event) {
        machine_id -> Uuid,
        process -> Text,
        event -> Text,
        timestamp -> Timestamptz,
        failed_cause -> Nullable<Text>,
        session_id -> Uuid,
    }
}

diesel::table! {
    machine_provided (machine_id) {
        machine_id -> Uuid,
        provider -> Text,
        provider_id -> Text,
        provider_reservation_id -> Nullable<Text>,
        provider_ip_address -> Nullable<Text>,
        provider_location -> Nullable<Text>,
        provider_status -> Nullable<Text>,
    }
}

diesel::table! {
    machine_agent_started (machine_id) {
        machine_id -> Uuid,
        agent_started_at -> Timestamptz,
        agent_public_key -> Bytea,
    }
}

diesel::table! {
    machine_agent_heartbeat (machine_id) {
        machine_id -> Uuid,
        agent_heartbeat_at -> Timestamptz,
    }
}

diesel::table! {
    machine_hold (machine_id) {
        machine_id -> Uuid,
        reason -> Text,
        since -> Timestamptz,
    }
}

diesel::table! {
    machine_hardware_report (machine_id) {
        machine_id -> Uuid,
        hardware_report_raw -> Bytea,
    }
}

diesel::table! {
    machine_os_installation_request (machine_id) {
        machine_id -> Uuid,
        generation -> Int8,
        os_installation_request_raw -> Bytea,
    }
}

diesel::table! {
    machine_os_installation_report (machine_id) {
        machine_id -> Uuid,
        generation -> Int8,
        os_installation_result -> Text,
        os_installation_report_raw -> Bytea,
    }
}

diesel::table! {
    os_installation_settled (machine_id) {
        machine_id -> Uuid,
        generation -> Int8,
        os_installation_result -> Text,
    }
}

diesel::table! {
    upkeep (task) {
        task -> Text,
        due_at -> Timestamptz,
        after_machine -> Nullable<Uuid>,
        chunks -> Int8,
        last_chunks -> Nullable<Int8>,
        failure -> Nullable<Text>,
    }
}

diesel::table! {
    attempt_tally (minute, process, event, writer) {
        minute -> Timestamptz,
        process -> Text,
        event -> Text,
        writer -> Uuid,
        count -> Int8,
        waits -> Int8,
        waited_ms -> Int8,
    }
}

diesel::table! {
    operator_action (action_id) {
        action_id -> Int8,
        machine_id -> Nullable<Uuid>,
        process -> Nullable<Text>,
        session_id -> Nullable<Uuid>,
        fence -> Nullable<Int8>,
        verb -> Text,
        operator -> Text,
        reason -> Nullable<Text>,
        details -> Nullable<Jsonb>,
        acted_at -> Timestamptz,
    }
}

diesel::table! {
    work_poisoned (machine_id, process) {
        machine_id -> Uuid,
        process -> Text,
        failures -> Int8,
        losses -> Int8,
    }
}

diesel::table! {
    agent_listener (listener_id) {
        listener_id -> Uuid,
        session_id -> Uuid,
        provider -> Text,
        since -> Timestamptz,
    }
}

diesel::table! {
    agent_listening (provider) {
        provider -> Text,
        since -> Timestamptz,
        heard_at -> Nullable<Timestamptz>,
        witness -> Nullable<Uuid>,
        observed_at -> Timestamptz,
        pause -> Interval,
        assumed -> Bool,
    }
}

diesel::table! {
    definitions_version (singleton) {
        singleton -> Bool,
        version -> Int8,
    }
}

diesel::table! {
    plan_failure (process) {
        process -> Text,
        workflow -> Text,
        machine_id -> Uuid,
        error -> Text,
        since -> Timestamptz,
        noted_at -> Timestamptz,
    }
}

diesel::table! {
    process_breaker (process, per) {
        process -> Text,
        per -> Text,
        max_due -> Nullable<Int4>,
        max_due_percent -> Nullable<Numeric>,
        max_failures -> Nullable<Int4>,
        failures_window_seconds -> Nullable<Int4>,
        resume_after_seconds -> Nullable<Int4>,
    }
}

diesel::table! {
    process_breaker_state (process, per, partition) {
        process -> Text,
        per -> Text,
        partition -> Text,
        due -> Nullable<Int8>,
        population -> Nullable<Int8>,
        evaluated_at -> Nullable<Timestamptz>,
        evaluate_after -> Timestamptz,
        disarmed -> Bool,
    }
}

diesel::table! {
    process_control (process) {
        process -> Text,
    }
}

diesel::table! {
    process_failures (process, per, partition, failed_at, machine_id) {
        process -> Text,
        per -> Text,
        partition -> Text,
        failed_at -> Timestamptz,
        machine_id -> Uuid,
    }
}

diesel::table! {
    process_limit (process, per) {
        process -> Text,
        per -> Text,
        max_running -> Nullable<Int4>,
        max_starts -> Nullable<Int4>,
        window_seconds -> Nullable<Int4>,
    }
}

diesel::table! {
    process_pause (process, provider) {
        process -> Text,
        provider -> Text,
        since -> Timestamptz,
        until -> Timestamptz,
        source -> Text,
        paused_by -> Text,
        reason -> Text,
        stop_running -> Bool,
    }
}

diesel::table! {
    process_slot (slot_id) {
        slot_id -> Int8,
        process -> Text,
        per -> Text,
        partition -> Text,
        kind -> Text,
        number -> Int4,
        machine_id -> Nullable<Uuid>,
        taken_at -> Nullable<Timestamptz>,
        free_at -> Timestamptz,
    }
}

diesel::table! {
    schema_compatibility (singleton) {
        singleton -> Bool,
        oldest_compatible -> Text,
    }
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Varchar,
        run_on -> Timestamp,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    machines,
    machine_provided,
    machine_agent_started,
    machine_agent_heartbeat,
    machine_hold,
    machine_hardware_report,
    machine_os_installation_request,
    machine_os_installation_report,
    os_installation_settled,
    work_item,
    work_attempt,
    sessions,
    process_def,
);
