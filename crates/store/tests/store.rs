//! The contract of both databases, case by case. Each case is a test of its own on SQLite; on PostgreSQL one server
//! runs all cases. After each case the invariants are checked in the tables themselves.

#[cfg(test)]
#[path = "store/admin.rs"]
mod admin;
#[cfg(test)]
#[path = "store/answers.rs"]
mod answers;
#[cfg(test)]
#[path = "store/asleep.rs"]
mod asleep;
#[cfg(test)]
#[path = "store/contacts.rs"]
mod contacts;
#[cfg(test)]
#[path = "store/explain.rs"]
mod explain;
#[cfg(test)]
#[path = "store/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "store/gate.rs"]
mod gate;
#[cfg(test)]
#[path = "store/held.rs"]
mod held;
#[cfg(test)]
#[path = "store/hold.rs"]
mod hold;
#[cfg(test)]
#[path = "store/imports.rs"]
mod imports;
#[cfg(test)]
#[path = "store/lease.rs"]
mod lease;
#[cfg(test)]
#[path = "store/ledger.rs"]
mod ledger;
#[cfg(test)]
#[path = "store/outside.rs"]
mod outside;
#[cfg(test)]
#[path = "store/random.rs"]
mod random;
#[cfg(test)]
#[path = "store/requeue.rs"]
mod requeue;
#[cfg(test)]
#[path = "store/retention.rs"]
mod retention;
#[cfg(test)]
#[path = "store/support.rs"]
mod support;
#[cfg(test)]
#[path = "store/suppression.rs"]
mod suppression;
#[cfg(test)]
#[path = "store/tasks.rs"]
mod tasks;
#[cfg(test)]
#[path = "store/upgrade.rs"]
mod upgrade;
#[cfg(test)]
#[path = "store/writer.rs"]
mod writer;

use support::Db;

macro_rules! contract {
    ($($module:ident: $($case:ident)*;)*) => {
        mod sqlite {
            $(mod $module { $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let db = crate::Db::sqlite().await;
                    crate::$module::$case(&db).await;
                    db.check().await;
                }
            )* })*
        }

        #[test]
        fn postgres_keeps_the_same_contract() {
            let server = paceline_lab::Postgres::start().unwrap();
            let mut failed = Vec::new();
            $($(
                // Each case gets its own runtime, so that a failed case leaves no tasks to the next.
                let case = std::thread::scope(|scope| scope.spawn(|| {
                    tokio::runtime::Runtime::new().unwrap().block_on(async {
                        let db = Db::postgres(&server).await;
                        crate::$module::$case(&db).await;
                        db.check().await;
                    });
                }).join());
                if case.is_err() {
                    failed.push(concat!(stringify!($module), "::", stringify!($case)));
                }
            )*)*
            assert!(failed.is_empty(), "on PostgreSQL these failed, see above: {failed:#?}");
        }
    };
}

contract! {
    ledger:
        decisions_are_recorded_in_the_transaction_that_stores_them
        entries_get_places_without_gaps_and_prove_themselves
        entries_of_many_transactions_at_once_are_numbered_once
        a_checkpoint_is_published_to_the_file_and_the_table
        a_file_or_a_database_that_disagrees_stops_publishing
        a_database_that_went_back_is_not_signed
        an_erased_body_leaves_its_hash_and_every_proof
        the_rules_in_force_are_recorded_once_for_each_change
        a_process_killed_at_any_moment_loses_no_entry_and_numbers_none_twice;
    admin:
        campaigns_keep_their_settings_and_trunks
        a_campaign_moves_only_from_the_states_named
        a_campaign_in_use_cannot_be_archived
        a_trunk_in_use_cannot_be_deleted
        agents_are_changed_only_while_offline
        an_api_key_is_found_listed_and_revoked
        the_do_not_call_list_takes_a_number_once
        lists_are_paged_by_their_keys
        a_list_counts_a_number_once
        an_error_never_repeats_a_value;
    answers:
        every_answer_is_counted_as_the_rules_say;
    imports:
        an_import_is_seen_when_it_is_published_and_not_before
        a_cancelled_import_leaves_nothing
        an_import_into_a_list_fills_blanks_of_its_contacts_and_replaces_nothing
        of_imports_into_one_list_that_begin_at_once_one_begins
        the_additions_of_an_import_to_a_listed_contact_are_visible_after_its_publication
        rows_of_one_number_become_one_contact
        a_staged_contact_that_is_added_by_hand_leaves_nothing_to_the_contact_with_its_old_id
        an_interrupted_import_goes_on_with_another_worker
        calls_are_prepared_while_an_import_is_staged;
    retention:
        decisions_expire_in_slices_the_oldest_first
        the_audit_expires_refused_or_not
        rejected_rows_expire_once_their_import_is_over;
    contacts:
        all_fields_of_a_contact_are_kept
        an_import_keeps_all_that_is_known_of_a_contact
        a_contact_is_known_by_its_external_id_or_its_first_number
        rows_of_a_contact_add_to_it_and_a_row_of_two_contacts_is_refused
        numbers_that_an_import_adds_are_seen_and_dialed_once_it_is_published
        a_contact_added_by_hand_is_removed_from_an_import_that_is_only_staged
        the_first_number_that_may_be_called_is_dialed
        a_number_listed_since_the_lease_leaves_the_contacts_others;
    tasks:
        a_task_from_numbers_makes_its_list_and_contacts
        a_large_task_is_taken_in_slices_and_not_dialed_before_it_is_whole
        a_task_needs_a_campaign_and_somebody_to_call
        tasks_are_created_all_or_none
        an_idempotency_key_is_used_once
        a_task_moves_only_from_the_states_named
        a_contacts_place_in_its_tasks_is_told;
    asleep:
        who_is_asleep_waits_together_and_keeps_nobody_from_being_called
        other_hours_are_a_matter_of_a_few_rows;
    lease:
        contacts_are_leased_in_due_order
        a_contact_whose_number_cannot_be_read_is_set_aside_and_the_others_are_called
        a_scheduled_task_runs_from_its_start_time
        a_task_started_before_its_time_has_its_contacts_due
        tasks_share_a_lease
        paused_and_cancelled_tasks_lease_nothing
        a_campaign_that_is_not_active_leases_nothing
        a_number_is_held_by_one_contact_at_a_time
        contacts_outside_their_hours_wait_for_the_next_opening
        other_hours_free_contacts_that_waited_for_the_old_ones
        a_number_on_the_do_not_call_list_is_done_and_blocked
        contacts_that_must_wait_do_not_starve_those_that_need_not
        every_task_has_its_turn
        who_is_refused_takes_no_others_turn
        contacts_given_back_are_due_at_once
        concurrent_leases_never_share_a_contact
        recovery_gives_back_what_has_no_open_attempt
        recovery_tells_open_attempts_and_agents
        recovery_tells_how_the_leg_of_an_open_attempt_ended;
    writer:
        an_attempt_is_stored_whole_before_the_answer
        a_number_listed_since_the_lease_is_refused
        hours_closed_since_the_lease_put_the_contact_off
        a_task_stopped_since_the_lease_gets_its_contact_back
        a_campaign_paused_since_the_lease_gets_its_contact_back
        a_contact_with_an_open_attempt_is_not_called_twice
        the_life_of_a_call_is_stored
        a_recording_is_stored_with_its_end
        what_pacing_learnt_is_stored_and_replaced
        an_ended_attempt_frees_its_number_for_the_next
        a_task_is_completed_when_every_contact_is_done
        a_change_said_twice_changes_nothing_more
        a_change_that_can_never_be_stored_holds_up_nothing
        an_attempt_that_can_never_be_stored_gives_its_contact_back
        an_attempt_given_up_is_not_stored_and_its_contact_comes_back;
    suppression:
        an_entry_that_holds_longer_replaces_one_that_ends
        an_entry_with_a_scope_holds_for_the_campaigns_that_name_it
        a_list_is_replaced_as_a_whole_and_read_again_after_a_restart
        a_version_that_was_not_completed_changes_nothing_and_is_cleared
        a_damaged_list_stops_the_dialing_and_not_the_process_until_it_is_uploaded_again
        a_store_whose_lists_are_not_loaded_leases_nothing
        a_number_that_a_new_version_lists_is_stopped_at_every_step
        a_contact_whose_first_number_is_in_a_registry_is_called_by_its_second
        a_campaign_with_an_allowlist_calls_its_numbers_only;
    gate:
        attempts_to_a_number_count_whatever_the_list_that_has_it
        attempts_of_one_batch_count_for_each_other
        a_contact_without_consent_is_asked_about_again_once_one_is_imported
        a_number_taken_off_the_do_not_call_list_is_asked_about_again
        a_bucket_waits_only_while_all_numbers_of_its_contacts_must
        an_allowlist_rule_of_an_overlay_reads_the_tags_of_the_contact
        a_small_lease_takes_its_contacts_from_few_buckets
        a_contact_that_one_trunk_may_not_call_is_called_by_another;
    held:
        a_number_that_leaves_a_registry_is_called_and_the_others_are_not_asked_about
        other_rules_free_contacts_that_waited_one_by_one_and_those_that_were_denied
        an_answer_of_the_outside_check_makes_its_contacts_due
        a_number_whose_do_not_call_entry_has_ended_is_called;
    explain:
        a_forecast_says_of_a_list_what_the_lease_does_with_it
        a_forecast_reads_past_attempts_by_contact_and_by_number
        a_forecast_reads_every_contact_of_a_long_list_once
        a_number_is_judged_for_each_campaign_that_has_it
        contacts_of_a_task_are_counted_by_what_they_wait_for;
    requeue:
        finished_contacts_are_ready_as_their_last_attempt_says
        ringing_is_stored_before_the_call_is_answered_or_ends
        a_completed_task_runs_again_once_somebody_is_queued
        a_paused_task_stays_paused_and_one_that_is_over_for_good_is_refused
        who_is_queued_again_still_has_to_pass_the_gate
        a_task_is_not_completed_while_contacts_of_it_are_queued
        a_hundred_thousand_contacts_are_queued_bit_by_bit_beside_dialing;
    outside:
        the_last_answer_of_a_number_is_kept_until_its_retention
        numbers_are_asked_in_the_order_of_the_lease_and_only_if_they_are_due_soon
        an_outage_is_read_by_the_gate_with_the_reason_to_call_meanwhile
        a_campaign_that_needs_the_check_calls_only_numbers_that_the_service_allows
        contacts_without_an_answer_wait_together_and_an_open_outage_lets_them_be_called;
    random:
        no_interleaving_loses_a_contact_or_holds_a_number_twice;
}
