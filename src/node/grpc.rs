//! Calls of gRPC with one message each way, without generated code: a service is a function of the path.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::{Request, Response};
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// What is sent back.
pub(super) type Reply = Response<Body>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers the calls of some services.
pub(super) trait Answers: Send + Sync + 'static {
    /// The answer to a call. `path` is `/<service>/<method>`.
    fn answer(
        self: Arc<Self>,
        path: String,
        request: Request<Body>,
    ) -> impl Future<Output = Reply> + Send;
}

/// A service for the transport.
pub(super) struct Server<A>(pub(super) Arc<A>);

impl<A> Clone for Server<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Answers> Service<Request<Body>> for Server<A> {
    type Response = Reply;
    type Error = Infallible;
    type Future = Boxed<Result<Reply, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answers = Arc::clone(&self.0);
        let path = request.uri().path().to_owned();
        Box::pin(async move { Ok(answers.answer(path, request).await) })
    }
}

/// Reads the message of a call and sends what `answer` makes of it.
pub(super) async fn unary<Asked, Answer, F>(
    request: Request<Body>,
    answer: impl FnOnce(Asked) -> F + Send,
) -> Reply
where
    Asked: Message + Default + 'static,
    Answer: Message + Default + 'static,
    F: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    let method = Method(Some(answer));
    Grpc::new(ProstCodec::<Answer, Asked>::default())
        .unary(method, request)
        .await
}

/// The answer to a call that does not exist.
pub(super) fn unknown(path: &str) -> Reply {
    Status::unimplemented(format!("there is no call {path} here")).into_http()
}

/// A method that is called once.
struct Method<A>(Option<A>);

impl<Asked, Answer, A, F> UnaryService<Asked> for Method<A>
where
    Answer: Send + 'static,
    A: FnOnce(Asked) -> F,
    F: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    type Response = Answer;
    type Future = Boxed<Result<tonic::Response<Answer>, Status>>;

    fn call(&mut self, request: tonic::Request<Asked>) -> Self::Future {
        let Some(answer) = self.0.take() else {
            return Box::pin(async { Err(Status::internal("a call was answered twice")) });
        };
        let answer = answer(request.into_inner());
        Box::pin(async move { answer.await.map(tonic::Response::new) })
    }
}
