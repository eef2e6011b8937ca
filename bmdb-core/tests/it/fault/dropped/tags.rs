//! Transactions that write every tag there is, of one machine and of many.

use super::environment::{Done, Environment};
use bmdb_model::os_installation::{InstallationReport, InstallationRequest, InstallationResult};
use bmdb_model::tag::TagName;
use bmdb_model::{
    AgentStarted, MachineId, Process, Provided, ProvidedMachine, Provider, TagWrites,
};

const ACCESS: Process = Process::SHEPHERD_ACCESS;

pub(super) async fn write_each(s: &Environment) -> Done {
    let known = MachineId::random();
    let written = s.session.transact(async |tx| {
        let machine = tx.create_machine().await?;
        tx.create_machine_as(known).await?;
        let provided = Provided::new(Provider::LUMEN, known.to_string());
        tx.set_provided(machine, &provided).await?;
        let started = AgentStarted::now(b"key");
        tx.set_agent_started(machine, &started).await?;
        tx.set_agent_heartbeat(machine, None).await?;
        tx.set_agent_heartbeats(&[(machine, None)]).await?;
        tx.unset_agent(machine).await?;
        tx.unset_tag(machine, TagName::HardwareReport).await?;
        tx.set_hardware_report(machine, b"report").await?;
        tx.set_os_installation_request(machine, 1, b"request")
            .await?;
        let success = InstallationResult::Success;
        tx.set_os_installation_report(machine, 1, success, b"report")
            .await?;
        tx.hold(machine, "test").await?;
        tx.release_hold(machine).await?;
        tx.hold_process(machine, &ACCESS, "test").await?;
        tx.release_process_hold(machine, &ACCESS).await?;
        tx.delete_machine(machine).await?;
        tx.delete_machine(known).await
    });
    Ok(written.await?)
}

pub(super) async fn write_many(s: &Environment) -> Done {
    let machines = [MachineId::random(), MachineId::random()];
    let provided = machines.map(|machine| {
        ProvidedMachine::new(machine, Provided::new(Provider::LUMEN, machine.to_string()))
    });
    let started = machines.map(|machine| (machine, AgentStarted::now(b"key")));
    let raw = machines.map(|machine| (machine, b"raw"));
    let requests = machines.map(|machine| (machine, InstallationRequest::new(1, b"raw")));
    let error = InstallationReport::new(1, InstallationResult::Error, b"raw");
    let reports = machines.map(|machine| (machine, error.clone()));
    let reasons = machines.map(|machine| (machine, "test"));
    let writes = machines.map(|machine| (machine, TagWrites::new().hardware_report(b"raw")));
    let written = s.session.transact(async |tx| {
        tx.create_machines_as(&machines).await?;
        tx.set_all_provided(&provided).await?;
        tx.set_agents_started(&started).await?;
        tx.unset_agents(&machines).await?;
        tx.set_hardware_reports(&raw).await?;
        tx.unset_tags(&machines, TagName::HardwareReport).await?;
        tx.set_os_installation_requests(&requests).await?;
        tx.set_os_installation_reports(&reports).await?;
        tx.write_tags(&writes).await?;
        tx.hold_machines(&reasons).await?;
        tx.release_holds(&machines).await?;
        tx.hold_process_on_machines(&ACCESS, &reasons).await?;
        tx.release_process_holds(&ACCESS, &machines).await?;
        tx.delete_machines(&machines).await
    });
    Ok(written.await?)
}
