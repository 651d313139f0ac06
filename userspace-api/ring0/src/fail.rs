//! How a verb fails: one line that says what and what to do, and the exit status.

use std::fmt::Display;

/// A failed verb.
#[derive(Debug)]
pub(crate) struct Fail {
    text: String,
    code: u8,
}

impl Fail {
    /// Failed for this reason: status 1.
    pub(crate) fn new(text: impl Display) -> Fail {
        Fail {
            text: text.to_string(),
            code: 1,
        }
    }

    /// Something disagreed: status 3.
    pub(crate) fn disagreed(text: impl Display) -> Fail {
        Fail {
            text: text.to_string(),
            code: 3,
        }
    }

    /// A privilege is missing: status 5.
    pub(crate) fn privilege(text: impl Display) -> Fail {
        Fail {
            text: text.to_string(),
            code: 5,
        }
    }

    /// The exit status.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl Display for Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<xdp_loader::LoaderError> for Fail {
    fn from(error: xdp_loader::LoaderError) -> Fail {
        let code = error.exit() as u8;
        Fail {
            text: error.to_string(),
            code,
        }
    }
}

impl From<ring0_rings::RingError> for Fail {
    fn from(error: ring0_rings::RingError) -> Fail {
        match error {
            ring0_rings::RingError::Loader(error) => error.into(),
            other => Fail::new(other),
        }
    }
}

impl From<ring0_drive::DriveError> for Fail {
    fn from(error: ring0_drive::DriveError) -> Fail {
        use ring0_drive::DriveError;
        match error {
            DriveError::Privilege => Fail::privilege(error),
            DriveError::Loader(error) => error.into(),
            DriveError::Ring(error) => error.into(),
            other => Fail::new(other),
        }
    }
}

impl From<ring0_afxdp::AfxdpError> for Fail {
    fn from(error: ring0_afxdp::AfxdpError) -> Fail {
        match error {
            ring0_afxdp::AfxdpError::Loader(error) => error.into(),
            ring0_afxdp::AfxdpError::Ring(error) => error.into(),
            other => Fail::new(other),
        }
    }
}

impl From<ring0d::DaemonError> for Fail {
    fn from(error: ring0d::DaemonError) -> Fail {
        let code = error.exit();
        Fail {
            text: error.to_string(),
            code,
        }
    }
}

macro_rules! fails {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Fail {
            fn from(error: $error) -> Fail {
                Fail::new(error)
            }
        }
    )+};
}

impl From<ring0_feed::FeedError> for Fail {
    fn from(error: ring0_feed::FeedError) -> Fail {
        match error {
            ring0_feed::FeedError::Ring(error) => error.into(),
            other => Fail::new(other),
        }
    }
}

fails!(
    ring0_channels::chain::ChainError,
    ring0_channels::channels::ChannelsError,
    ring0_channels::exit_file::ExitFileError,
    ring0_channels::guard::GuardError,
    ring0_channels::keep::KeepError,
    ring0_channels::store::StoreError,
    ring0_channels::tree::TreeError,
    ring0_channels_evm::leave::LeaveError,
    ring0_dev::Trouble,
    ring0_engine::layout::CapacityError,
    ring0_engine::native::NativeError,
    ring0_engine::snapshot::ReplicaError,
    ring0_feed::AnswerServerError,
    ring0_feed::MoldAnswerError,
    ring0_feed::SoupAnswerError,
    ring0_feed::SubscribeError,
    ring0_lab::LabError,
    ring0_market::MarketError,
    ring0_mq::MqError,
    ring0_trader::TraderError,
    ring0d::ClientError,
    std::io::Error,
    serde_json::Error,
);
