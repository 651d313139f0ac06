//! One job of `ring0 bench mq` with iceoryx2: this process publishes, a child of the same program subscribes.
//!
//! Nothing is dropped: safe overflow is off and a publisher waits for room, as the record ring's does for a required consumer.
#![deny(unsafe_code)]

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use ring0_bench_mq::{
    BenchError, Copied, Job, Measured, RECORD_BYTES_MAX, Receiver, Sender, consumer_is_ready,
    drain, measured, now_ns, on_processor, record, send_all, send_paced, start_consumer,
};
use std::process::ExitCode;

/// Samples a subscriber's queue holds, as many bytes as the record ring's 4 MiB for records of 64.
const QUEUE_BYTES: usize = 4 << 20;

fn main() -> ExitCode {
    set_log_level(LogLevel::Error);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [flag, role] if flag == "--consumer" => consume(role),
        [job] => run(job),
        _ => Err(BenchError::Other(
            "give a job, as `ring0 bench mq` does".to_owned(),
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Service = PortFactory<ipc::Service, [u8], ()>;

/// The node must outlive the service's ports, and takes its files away when it is dropped. They lie in `folder`, which is the job's alone.
fn service(
    folder: &str,
    name: &str,
    job: &Job,
) -> Result<(Node<ipc::Service>, Service), BenchError> {
    let mut config = Config::default();
    let folder = Path::new(folder.as_bytes()).map_err(BenchError::queue)?;
    config.global.set_root_path(&folder);
    let node = NodeBuilder::new()
        .config(&config)
        .create::<ipc::Service>()
        .map_err(BenchError::queue)?;
    let name: ServiceName = name.try_into().map_err(BenchError::queue)?;
    let service = node
        .service_builder(&name)
        .publish_subscribe::<[u8]>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(QUEUE_BYTES / job.bytes)
        .max_publishers(job.shape.producers as usize)
        .max_subscribers(job.shape.consumers as usize)
        .open_or_create()
        .map_err(BenchError::queue)?;
    Ok((node, service))
}

struct Publishers {
    ports: Vec<Publisher<ipc::Service, [u8], ()>>,
    bytes: usize,
}

impl Sender for Publishers {
    fn send(
        &mut self,
        producer: u64,
        first: u64,
        count: u64,
        sent_ns: u64,
    ) -> Result<(), BenchError> {
        for number in first..first + count {
            let port = &self.ports[producer as usize];
            let mut sample = port.loan_slice(self.bytes).map_err(BenchError::queue)?;
            record(sample.payload_mut(), producer, number, sent_ns);
            sample.send().map_err(BenchError::queue)?;
        }
        Ok(())
    }
}

struct Reader(Subscriber<ipc::Service, [u8], ()>);

impl Receiver for Reader {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<u64, BenchError> {
        let mut count = 0;
        while count < 256
            && let Some(sample) = self.0.receive().map_err(BenchError::queue)?
        {
            take(sample.payload());
            count += 1;
        }
        Ok(count)
    }
}

fn run(job: &str) -> Result<(), BenchError> {
    let job: Job = serde_json::from_str(job).map_err(BenchError::queue)?;
    assert!(
        job.bytes <= RECORD_BYTES_MAX,
        "the bench has no longer records"
    );
    on_processor(0)?;
    let name = format!("ring0 bench mq {}", std::process::id());
    let scratch = tempfile::tempdir()?;
    let folder = scratch
        .path()
        .to_str()
        .ok_or_else(|| BenchError::Other("TMPDIR is not UTF-8; give another".to_owned()))?;
    let (_node, service) = service(folder, &name, &job)?;
    let ports: Result<Vec<_>, _> = (0..job.shape.producers)
        .map(|_| {
            service
                .publisher_builder()
                .initial_max_slice_len(job.bytes)
                .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                .create()
        })
        .collect();
    let mut sender = Publishers {
        ports: ports.map_err(BenchError::queue)?,
        bytes: job.bytes,
    };
    let role = serde_json::to_string(&(folder, &name, &job)).map_err(BenchError::queue)?;
    let consumer = start_consumer(&role)?;
    let begin = now_ns();
    if job.every_ns == 0 {
        send_all(&mut sender, &job)?;
    } else {
        send_paced(&mut sender, &job)?;
    }
    let measured: Measured = measured(consumer)?;
    let result = (measured.end_ns - begin, measured);
    println!(
        "{}",
        serde_json::to_string(&result).map_err(BenchError::queue)?
    );
    Ok(())
}

fn consume(role: &str) -> Result<(), BenchError> {
    let (folder, name, job): (String, String, Job) =
        serde_json::from_str(role).map_err(BenchError::queue)?;
    on_processor(1)?;
    let (_node, service) = service(&folder, &name, &job)?;
    let mut receivers = Vec::<Box<dyn Receiver>>::new();
    for _ in 0..job.shape.consumers {
        let port = service
            .subscriber_builder()
            .create()
            .map_err(BenchError::queue)?;
        receivers.push(Box::new(Copied(Reader(port))));
    }
    consumer_is_ready();
    let measured = drain(&mut receivers, &job)?;
    println!(
        "{}",
        serde_json::to_string(&measured).map_err(BenchError::queue)?
    );
    Ok(())
}
