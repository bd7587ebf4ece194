//! The environment that a job starts from and runs in.
//!
//! ```text
//!   main ─ from_args ─▶ environment ─ source, map … ─▶ graph ─ execute ─▶ MiniCluster ─▶ JobResult
//!              │ 0 help, version       --explain: 0 │          │ 130, 143 a signal
//!              ▼ 2 usage, configuration             ▼ 2        ▼ 0 closed output, 7 unfit
//!                              the process ends
//! ```
//!
//! # What is always true
//!
//! 1. Only an environment of [`from_args`](StreamExecutionEnvironment::from_args) ends the process, handles signals and
//!    prints. One of [`new`](StreamExecutionEnvironment::new) returns everything: tests and servers use it.
//! 2. A job that failed is returned in both cases, so a program may react. Left to `main`, it is printed, and the
//!    process ends with 1.

use std::{env, ops::Deref, path::Path, process, time::Duration};

use wiesel_cluster::{JobClient, JobResult, MiniCluster, SubmitOptions, ask_job, slots_of};
use wiesel_core::{
    RuntimeExecutionMode,
    config::{ConfigError, ConfigOption, ConfigValue, Configuration, options},
};
use wiesel_datastream::{Environment, VertexCode};
use wiesel_graph::{GraphDefaults, JobGraph};

use crate::{
    CheckpointConfig, Error, Result, UsageError, answers,
    arguments::{self, Arguments, PlanFormat, Wish},
    exit_code, help, logging, print,
    progress::ProgressLine,
    settings, table,
};

/// Where a program starts: sources, the configuration, and [`execute`](Self::execute).
///
/// It dereferences to [`Environment`], which has `source` and `from_collection`.
///
/// ```
/// use wiesel::{Configuration, prelude::*};
///
/// let mut env = StreamExecutionEnvironment::new(Configuration::new());
/// env.set_parallelism(2)?;
/// let doubled = env.from_collection([1_u64, 2, 3]).map(|n| n * 2).collect();
/// let result = env.execute("double")?;
/// assert_eq!(result.progress.records_read(), 3);
/// let mut doubled = doubled.take();
/// doubled.sort();
/// assert_eq!(doubled, [2, 4, 6]);
/// # Ok::<(), wiesel::Error>(())
/// ```
pub struct StreamExecutionEnvironment {
    graph: Environment,
    config: Configuration,
    /// Of the command line; none if the program does not run on one.
    arguments: Option<Arguments>,
    print_summary: bool,
}

impl Deref for StreamExecutionEnvironment {
    type Target = Environment;

    fn deref(&self) -> &Environment {
        &self.graph
    }
}

impl StreamExecutionEnvironment {
    /// The environment of a program that is run from a command line. Starts the log (`WIESEL_LOG`).
    ///
    /// `--help` and `--version` are answered here, and the process ends with 0. A command line or a configuration that
    /// cannot be used is printed, and the process ends with 2.
    ///
    /// # Errors
    ///
    /// None today: what could go wrong ends the process with a code that `main` could not give.
    pub fn from_args() -> Result<Self> {
        let program = program_name();
        let loaded = arguments::parse(env::args_os().skip(1)).map_err(Error::from);
        let loaded = loaded.and_then(|arguments| {
            match arguments.wish {
                Wish::Help => end(&help::page(&program)),
                Wish::Version => end(&help::version(&program)),
                Wish::Run | Wish::Explain(_) | Wish::Ask(_) => {}
            }
            logging::start()?;
            let config = settings::load(&arguments, env::vars_os())?;
            Ok((arguments, config))
        });
        let (arguments, config) = loaded.unwrap_or_else(|error| fail(&error));
        Ok(Self { arguments: Some(arguments), ..Self::new(config) })
    }

    /// An environment for a program that is no command: it prints nothing, handles no signal and never ends the process.
    pub fn new(config: Configuration) -> Self {
        Self { graph: Environment::new(), config, arguments: None, print_summary: false }
    }

    /// An empty program with the configuration and the command line of this one: for a second job.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            graph: Environment::new(),
            config: self.config.clone(),
            arguments: self.arguments.clone(),
            print_summary: self.print_summary,
        }
    }

    /// The arguments of the program itself: what follows `--`.
    pub fn params(&self) -> &[String] {
        self.arguments.as_ref().map_or(&[], |arguments| &arguments.program)
    }

    /// The arguments of the program itself, at most `N`: those that are not given are the `defaults`.
    ///
    /// ```
    /// use wiesel::{Configuration, prelude::*};
    ///
    /// let env = StreamExecutionEnvironment::new(Configuration::new());
    /// let [file, folder] = env.params_or(["posts.jsonl", "out"])?; // `my-job -- other.jsonl` has another file.
    /// assert_eq!([file, folder], ["posts.jsonl", "out"]);
    /// # Ok::<(), wiesel::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there are more. A command then ends with 2.
    pub fn params_or<const N: usize>(&self, defaults: [&str; N]) -> Result<[String; N]> {
        let mut params = defaults.map(str::to_owned);
        params.iter_mut().zip(self.params()).for_each(|(param, given)| param.clone_from(given));
        let surplus = self.params().get(N).cloned();
        let surplus = surplus.map(|argument| UsageError::Surplus { argument, max: N }.into());
        self.settle(surplus.map_or(Ok(params), Err))
    }

    /// The configuration, with all its layers.
    pub fn configuration(&self) -> &Configuration {
        &self.config
    }

    /// Sets an option by its key, in the layer of the program: above the file and the environment, below `-D`.
    ///
    /// # Errors
    ///
    /// If there is no such key, or the value cannot be used. A command then ends with 2.
    pub fn set(&mut self, key: &str, value: &str) -> Result<&mut Self> {
        let set = self.config.set_text(key, value);
        self.accepted(set)
    }

    /// Sets an option in the layer of the program, as [`set`](Self::set) does, with a value of its type.
    ///
    /// ```
    /// use wiesel::{Configuration, config::options, prelude::*};
    ///
    /// let mut env = StreamExecutionEnvironment::new(Configuration::new());
    /// env.configure(&options::CHECKPOINTING_TIMEOUT, minutes(2))?;
    /// env.configure(&options::RESTART_FIXED_ATTEMPTS, 3)?;
    /// # Ok::<(), wiesel::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the option does not take the value. A command then ends with 2.
    pub fn configure<T: ConfigValue>(
        &mut self,
        option: &ConfigOption<T>,
        value: T,
    ) -> Result<&mut Self> {
        let set = self.config.set(option, value);
        self.accepted(set)
    }

    /// What is to be said of checkpoints, by methods with Flink's names.
    pub fn checkpoint_config(&mut self) -> CheckpointConfig<'_> {
        CheckpointConfig(self)
    }

    /// Sets how many subtasks operators have that set none, unless the command line does.
    ///
    /// # Errors
    ///
    /// If it is not between 1 and 32,768. A command then ends with 2.
    pub fn set_parallelism(&mut self, parallelism: u32) -> Result<&mut Self> {
        self.configure(&options::PARALLELISM_DEFAULT, Some(parallelism))
    }

    /// Sets how many key groups the job has: the most subtasks that its state can ever be spread over.
    ///
    /// # Errors
    ///
    /// If it is not between 1 and 32,768. A command then ends with 2.
    pub fn set_max_parallelism(&mut self, max_parallelism: u32) -> Result<&mut Self> {
        self.configure(&options::MAX_PARALLELISM, Some(max_parallelism))
    }

    /// Takes a checkpoint every `interval`, into the folder that `execution.checkpointing.dir` names: after a failure
    /// the job continues from the latest, and so does the same program when it is started again.
    ///
    /// # Errors
    ///
    /// If the interval is no duration that the option takes. A command then ends with 2.
    pub fn enable_checkpointing(&mut self, interval: Duration) -> Result<&mut Self> {
        self.configure(&options::CHECKPOINTING_INTERVAL, interval)
    }

    /// Sets how the job is run, unless the command line does: [`Batch`](RuntimeExecutionMode::Batch) gives final results
    /// only, with memory that does not grow with the number of keys.
    ///
    /// ```
    /// use wiesel::{Configuration, RuntimeExecutionMode, prelude::*};
    ///
    /// let mut env = StreamExecutionEnvironment::new(Configuration::new());
    /// env.set_runtime_mode(RuntimeExecutionMode::Batch)?;
    /// let words = env.from_collection(["to", "be", "or", "not", "to", "be"].map(str::to_owned));
    /// let counts = words.key_by::<String>(|word| word).count().collect();
    /// env.execute("count")?;
    /// let mut counts: Vec<_> = counts.take().into_iter().map(|c| (c.key, c.count)).collect();
    /// counts.sort();
    /// assert_eq!(counts, [("be", 2), ("not", 1), ("or", 1), ("to", 2)].map(|(w, n)| (w.to_owned(), n)));
    /// # Ok::<(), wiesel::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None: every mode can be set. Whether the sources are fit for it is seen when the job is started.
    pub fn set_runtime_mode(&mut self, mode: RuntimeExecutionMode) -> Result<&mut Self> {
        self.configure(&options::RUNTIME_MODE, mode)
    }

    fn accepted(&mut self, set: Result<(), ConfigError>) -> Result<&mut Self> {
        self.settle(set.map_err(Error::from))?;
        Ok(self)
    }

    /// How many subtasks operators have that set none.
    pub fn parallelism(&self) -> u32 {
        self.defaults().parallelism
    }

    /// Prints the progress and the closing table in any case. Without this a command prints them on a terminal: the
    /// table if standard error is one, the progress if standard output is not one too, whose lines it would spoil.
    pub fn print_summary(&mut self) -> &mut Self {
        self.print_summary = true;
        self
    }

    /// The plan of the job, as `--explain` prints it.
    ///
    /// # Errors
    ///
    /// If a stream does not end in a sink, or the graph cannot be run as it is.
    pub fn execution_plan(&self, name: &str) -> Result<String> {
        Ok(self.job_graph(name)?.explain())
    }

    /// Runs the job until it has read all its input, or is cancelled. Once it was started, as in Flink, the environment has no
    /// pipelines: the next ones make another job.
    ///
    /// A command with `--explain` prints the plan instead and ends with 0; with `status`, `savepoint`, `stop` or `cancel` it asks
    /// the job of this name that runs already, prints the answer and ends: nothing of the program runs after that. If a signal cancels the job, the closing
    /// table is printed and the process ends with 130 or 143; if nobody reads the output any more, it ends with 0.
    ///
    /// # Errors
    ///
    /// If the job fails or its input is not there. Only outside a command: if the graph cannot be run, or the machine
    /// is not fit.
    pub fn execute(&self, name: &str) -> Result<JobResult> {
        let result = self.execute_async(name)?.wait();
        self.closed(name, result)
    }

    /// Starts the job and returns at once. It runs in threads of this process, and ends with it: wait for it
    /// ([`JobClient::wait`]) before `main` returns. A signal cancels it; what then remains to be done is the program's business
    /// ([`JobResult::signal`]).
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), except for what happens after the start.
    pub fn execute_async(&self, name: &str) -> Result<JobClient> {
        let submitted = self.submit(name);
        self.settle(submitted)
    }

    fn submit(&self, name: &str) -> Result<JobClient> {
        if let Some(Arguments { wish: Wish::Ask(ask), .. }) = &self.arguments {
            let answered =
                ask_job(&self.config, name, ask).map_err(|source| Error::ask(name, source));
            match answered {
                Ok(answer) => end(&answers::text(name, &answer)),
                Err(error) => fail(&error),
            }
        }
        let graph = self.job_graph(name)?;
        let mut submit = SubmitOptions::default();
        if let Some(arguments) = &self.arguments {
            match &arguments.wish {
                Wish::Explain(PlanFormat::Text) => end(&graph.explain()),
                Wish::Explain(PlanFormat::Json) => end(&format!("{}\n", graph.explain_json())),
                Wish::Run | Wish::Ask(_) | Wish::Help | Wish::Version => {}
            }
            submit.handle_signals = true;
            submit.fresh = arguments.fresh;
            submit.allow_non_restored = arguments.allow_non_restored;
            if print::err_is_terminal() && (self.print_summary || !print::out_is_terminal()) {
                let mut line = ProgressLine::new(name);
                submit.observer = Some(Box::new(move |progress| line.draw(progress)));
            }
        }
        let client = MiniCluster::submit(graph, &self.config, submit)
            .map_err(|source| Error::start(name, source))?;
        self.graph.clear();
        Ok(client)
    }

    fn job_graph(&self, name: &str) -> Result<JobGraph<VertexCode>> {
        Ok(self.graph.job_graph(name, &self.defaults())?)
    }

    fn defaults(&self) -> GraphDefaults {
        GraphDefaults::from_config(&self.config, slots_of(&self.config))
    }

    /// What is done when a job is over.
    fn closed(&self, name: &str, result: JobResult) -> Result<JobResult> {
        if self.arguments.is_some() {
            if result.output_closed {
                process::exit(exit_code::FINISHED);
            }
            if self.print_summary || result.signal.is_some() || print::err_is_terminal() {
                print::err(&table::closing(name, &result.progress));
            }
            if let Some(signal) = result.signal {
                process::exit(exit_code::SIGNAL + signal);
            }
        }
        let job = name.to_owned();
        if let Some(panic) = result.panics.first() {
            return Err(Error::Lost { job, panic: panic.to_string() });
        }
        match &result.failure {
            Some(failure) if !result.output_closed => {
                let failure = Box::new(failure.clone());
                Err(Error::Failed { job, failure, result: Box::new(result) })
            }
            _ => Ok(result),
        }
    }

    /// Of a command, ends the process for errors that have an exit code of their own.
    fn settle<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if self.arguments.is_some() && error.exit_code() != exit_code::FAILED => {
                fail(&error)
            }
            result => result,
        }
    }
}

/// The name that the program was called by.
fn program_name() -> String {
    let called = env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or(&called);
    name.to_string_lossy().into_owned()
}

/// Prints what was asked for and ends the process.
fn end(text: &str) -> ! {
    print::out(text);
    process::exit(exit_code::FINISHED)
}

/// Prints an error as `main` does and ends the process.
fn fail(error: &Error) -> ! {
    print::err(&format!("Error: {error:?}\n"));
    process::exit(error.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_job_has_the_pipelines_that_were_said_after_the_first() {
        let env = StreamExecutionEnvironment::new(Configuration::new());
        let first = env.from_collection([1_u64]).collect();
        env.execute("first").expect("it runs");
        let second = env.from_collection([2_u64]).collect();
        env.execute("second").expect("it runs");
        assert_eq!((first.take(), second.take()), (vec![1], vec![2]));
    }

    #[test]
    fn what_a_program_sets_must_not_contradict_itself() {
        let mut env = StreamExecutionEnvironment::new(Configuration::new());
        env.set("taskmanager.network.record-bytes-max", "128 mb").expect("a size");
        let numbers = env.from_collection([1_u64]).collect();
        let refused = env.execute("numbers").expect_err("a record is larger than the overdraft");
        assert!(matches!(refused, Error::Config(_)), "{refused}");
        assert!(refused.to_string().contains("max-overdraft-size"), "{refused}");
        assert!(numbers.take().is_empty());
    }
}
