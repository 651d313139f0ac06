//! `stats`.

use super::{Done, load::seconds, output::Output, place::Place, prometheus};
use clap::Args;
use ratatui::{
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
    layout::{Constraint, Layout},
    style::Style,
    text::Line,
    widgets::{Block, Cell, Row, Table},
};
use std::{fmt::Write, io, time::Duration};
use xdp_loader::{CounterStat, Exit, LoaderError, Observer, Stats, drop_privileges};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Time between the two looks that give the rates; 0: one look.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Look again and again: a table on the terminal until `q`, with --json an object a line.
    #[arg(long, conflicts_with = "prometheus")]
    watch: bool,
    /// Print Prometheus' text format, for the textfile collector or any exporter that runs a command.
    #[arg(long, conflicts_with = "json")]
    prometheus: bool,
    /// With counters that are zero.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    let mut observer = Observer::open(&arguments.place.pin_root())?;
    // All is open: what follows reads it.
    drop_privileges()?;
    if arguments.prometheus {
        let stats = observer.look()?;
        out.say(&stats, prometheus::text(&stats));
        return Ok(Exit::Ok);
    }
    if arguments.watch {
        return match out.json {
            true => watch_lines(&mut observer, arguments, out),
            false => watch(&mut observer, arguments),
        };
    }
    let mut stats = observer.look()?;
    if !arguments.interval.is_zero() {
        std::thread::sleep(arguments.interval);
        stats = observer.look()?;
    }
    out.say(&stats, text(&stats, arguments.all));
    Ok(Exit::Ok)
}

fn watch_lines(observer: &mut Observer, arguments: &Arguments, out: Output) -> Done {
    loop {
        let stats = observer.look()?;
        if !out.say(&stats, "") {
            return Ok(Exit::Ok);
        }
        std::thread::sleep(arguments.interval.max(SHORTEST));
    }
}

/// A shorter one would cost more than it shows.
const SHORTEST: Duration = Duration::from_millis(100);

fn watch(observer: &mut Observer, arguments: &Arguments) -> Done {
    let broken = |source: io::Error| LoaderError::Call {
        doing: "drawing on the terminal".to_owned(),
        source,
        cure: "run it in a terminal, or give --json",
    };
    let mut terminal = ratatui::try_init().map_err(broken)?;
    let result = loop {
        let stats = match observer.look() {
            Ok(stats) => stats,
            Err(error) => break Err(error),
        };
        let drawn = terminal.draw(|frame| draw(frame, &stats, arguments.all));
        if let Err(error) = drawn {
            break Err(broken(error));
        }
        match is_over(arguments.interval.max(SHORTEST)) {
            Ok(false) => {}
            Ok(true) => break Ok(Exit::Ok),
            Err(error) => break Err(broken(error)),
        }
    };
    ratatui::restore();
    result
}

/// Whether the user wants to go, within the time until the next look.
fn is_over(wait: Duration) -> io::Result<bool> {
    if !event::poll(wait)? {
        return Ok(false);
    }
    Ok(match event::read()? {
        Event::Key(key) => {
            let control_c =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
        }
        _ => false,
    })
}

fn draw(frame: &mut ratatui::Frame<'_>, stats: &Stats, all: bool) {
    let consumers = stats.ring.consumers.len() as u16;
    let [top, bottom] = Layout::vertical([Constraint::Min(5), Constraint::Length(consumers + 4)])
        .areas(frame.area());
    let right = |text: String| Cell::from(Line::from(text).right_aligned());
    let head = |names: [&'static str; 3]| Row::new(names).style(Style::new().bold());
    let counters = shown(&stats.counters, all).map(|one| {
        Row::new([
            Cell::from(one.name.clone()),
            right(format!("{:.0}", one.per_second)),
            right(one.total.to_string()),
        ])
    });
    let widths = [
        Constraint::Min(24),
        Constraint::Length(14),
        Constraint::Length(20),
    ];
    let table = Table::new(counters, widths)
        .header(head(["frames", "per second", "total"]))
        .block(Block::bordered().title(format!(" {} · q ends ", title(stats))));
    frame.render_widget(table, top);
    let ring = &stats.ring;
    let rows = ring.consumers.iter().map(|one| {
        Row::new([
            Cell::from(one.name.clone()),
            Cell::from(if one.required { "required" } else { "" }),
            right(one.lag.to_string()),
        ])
    });
    let table = Table::new(rows, widths)
        .header(head(["consumer", "", "slots behind"]))
        .block(Block::bordered().title(format!(
            " record ring: {} published, {:.0}/s, {} of {} free, {} on the disk ",
            ring.published, ring.per_second, ring.free, ring.slots, ring.durable_slots
        )));
    frame.render_widget(table, bottom);
}

fn shown(counters: &[CounterStat], all: bool) -> impl Iterator<Item = &CounterStat> {
    counters.iter().filter(move |one| all || one.total != 0)
}

fn title(stats: &Stats) -> String {
    let mut text = stats.interface.clone();
    if let Some(netns) = &stats.netns {
        let _ = write!(text, " in {netns}");
    }
    if let Some(port) = stats.port {
        let _ = write!(text, ", port {port}");
    }
    match stats.program_id {
        Some(id) => {
            let _ = write!(text, ": program {id}");
        }
        None => text.push_str(": NOT attached"),
    }
    text
}

fn text(stats: &Stats, all: bool) -> String {
    let mut text = format!(
        "{}\n{:<28} {:>12} {:>16}",
        title(stats),
        "frames",
        "per second",
        "total"
    );
    let mut list = |counters: &[CounterStat], before: &str| {
        for one in shown(counters, all) {
            let name = format!("{before}{}", one.name);
            let _ = write!(
                text,
                "\n{name:<28} {:>12.0} {:>16}",
                one.per_second, one.total
            );
        }
    };
    list(&stats.counters, "");
    list(
        stats.dispatcher_counters.as_deref().unwrap_or_default(),
        "dispatcher ",
    );
    let ring = &stats.ring;
    let _ = write!(
        text,
        "\nrecord ring: {} slots published, {:.0}/s, {} of {} free; on the disk {} (sequence {}){}",
        ring.published,
        ring.per_second,
        ring.free,
        ring.slots,
        ring.durable_slots,
        ring.durable_sequence,
        if ring.journal_failed {
            ", JOURNAL FAILED"
        } else {
            ""
        }
    );
    for one in &ring.consumers {
        let required = if one.required { " (required)" } else { "" };
        let _ = write!(
            text,
            "\nconsumer {}{required}: {} slots read, {} behind",
            one.name, one.consumed, one.lag
        );
    }
    let _ = write!(
        text,
        "\ncommand ring: {} commands written, {} slots",
        stats.commands_written, stats.command_slots
    );
    text
}
