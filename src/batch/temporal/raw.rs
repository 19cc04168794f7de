//! Calls that the client has no function for, or whose function hides what is needed.

use serde::Serialize;
use serde::de::DeserializeOwned;
use temporalio_client::grpc::WorkflowService;
use temporalio_client::tonic::{Code, IntoRequest, Status};
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::activity::v1::ActivityExecutionInfo;
use temporalio_common::protos::temporal::api::common::v1::{ActivityType, Payload, Payloads};
use temporalio_common::protos::temporal::api::enums::v1::{
    ActivityIdConflictPolicy, ActivityIdReusePolicy, TaskQueueType,
};
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DeleteActivityExecutionRequest, DescribeNamespaceRequest, DescribeTaskQueueRequest, StartActivityExecutionRequest,
};

use super::CallError;
use super::task::{Order, TYPE};

/// What became of a title that was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is in the queue now.
    Started,
    /// It was there, not yet closed.
    Open,
    /// It was complete.
    Complete,
}

/// How an activity is run, without what is the title's own.
pub type Rules = StartActivityExecutionRequest;

/// The rules of an activity that was.
pub fn rules_of(info: &ActivityExecutionInfo) -> Rules {
    Rules {
        task_queue: Some(queue(&info.task_queue)),
        schedule_to_close_timeout: info.schedule_to_close_timeout,
        start_to_close_timeout: info.start_to_close_timeout,
        heartbeat_timeout: info.heartbeat_timeout,
        retry_policy: info.retry_policy.clone(),
        ..Rules::default()
    }
}

/// The task queue of this name.
pub fn queue(name: &str) -> TaskQueue {
    TaskQueue { name: name.to_owned(), ..TaskQueue::default() }
}

/// Starts an activity that is neither open nor complete. One that has failed, or was cancelled, is started again.
pub async fn start(client: &Client, id: String, rules: &Rules, input: Payloads) -> Result<Put, CallError> {
    let request = Rules {
        namespace: client.namespace(),
        identity: client.identity(),
        request_id: request_id(),
        activity_id: id,
        activity_type: Some(ActivityType { name: TYPE.to_owned() }),
        input: Some(input),
        id_reuse_policy: ActivityIdReusePolicy::AllowDuplicateFailedOnly.into(),
        id_conflict_policy: ActivityIdConflictPolicy::UseExisting.into(),
        ..rules.clone()
    };
    match client.clone().start_activity_execution(request.into_request()).await {
        Ok(answer) if answer.get_ref().started => Ok(Put::Started),
        Ok(_) => Ok(Put::Open),
        Err(status) if status.code() == Code::AlreadyExists => Ok(Put::Complete),
        Err(status) => Err(CallError::new("take a title", &status)),
    }
}

/// Tells the server which of the requests that reach it are one that was repeated.
fn request_id() -> String {
    let mut bytes = [0; 16];
    // Without it a request that was repeated may be counted as another's, and that is all.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

/// A document as the workers read it.
pub fn payload(value: &Order) -> Payloads {
    Payloads { payloads: vec![json(value)] }
}

fn json(value: &impl Serialize) -> Payload {
    Payload {
        metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
        data: serde_json::to_vec(value).unwrap_or_default(),
        ..Payload::default()
    }
}

/// The first document of some; none when it is another one.
pub fn read<T: DeserializeOwned>(payloads: Option<&Payloads>) -> Option<T> {
    serde_json::from_slice(&payloads?.payloads.first()?.data).ok()
}

/// Deletes one closed run, so that it is not counted beside the one that took its place.
pub async fn delete(client: &Client, id: &str, run: &str) -> Result<(), CallError> {
    let request = DeleteActivityExecutionRequest {
        namespace: client.namespace(),
        activity_id: id.to_owned(),
        run_id: run.to_owned(),
    };
    match client.clone().delete_activity_execution(request.into_request()).await {
        // Somebody else was faster.
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(CallError::new("forget a run that was tried again", &status)),
        Ok(_) => Ok(()),
    }
}

/// Whether the namespace is there and has standalone activities.
pub async fn standalone_activities(client: &Client) -> Result<bool, Status> {
    let request = DescribeNamespaceRequest { namespace: client.namespace(), ..DescribeNamespaceRequest::default() };
    let answer = client.clone().describe_namespace(request.into_request()).await?.into_inner();
    let capabilities = answer.namespace_info.and_then(|info| info.capabilities);
    Ok(capabilities.is_some_and(|capabilities| capabilities.standalone_activities))
}

/// How many have asked for titles of a queue within the last minutes.
pub async fn pollers(client: &Client, name: &str) -> Result<usize, CallError> {
    let request = DescribeTaskQueueRequest {
        namespace: client.namespace(),
        task_queue: Some(queue(name)),
        task_queue_type: TaskQueueType::Activity.into(),
        ..DescribeTaskQueueRequest::default()
    };
    let answer = client.clone().describe_task_queue(request.into_request()).await;
    let answer = answer.map_err(|status| CallError::new("tell of its workers", &status))?.into_inner();
    Ok(answer.pollers.len())
}
