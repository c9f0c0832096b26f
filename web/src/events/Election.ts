// Decides which tab of the browser holds the event stream: the one with the lock. If that tab closes or crashes, the
// next one in line gets the lock.

interface Leadership {
  begin: () => void;
  end: () => void;
}

export class Election {
  #resign = () => {};
  #candidacy = new AbortController();

  constructor(
    private readonly lockName: string,
    private readonly leadership: Leadership,
  ) {}

  /** Waits in line for the lock. */
  join(): void {
    this.#candidacy = new AbortController();
    this.#requestLock({ signal: this.#candidacy.signal });
  }

  /** Takes the lock from a tab that does not respond. */
  takeOver(): void {
    this.#candidacy.abort();
    this.#candidacy = new AbortController();
    this.#requestLock({ steal: true });
  }

  leave(): void {
    this.#candidacy.abort();
    this.#resign();
  }

  #requestLock(options: LockOptions): void {
    const { signal } = this.#candidacy;
    const request = navigator.locks.request(this.lockName, options, async () => {
      if (signal.aborted) return;
      this.leadership.begin();
      await new Promise<void>((resolve) => (this.#resign = resolve));
      this.leadership.end();
    });
    // Rejected for a tab that has left, and for one whose lock was taken, which then waits in line again.
    request.catch(() => {
      if (signal.aborted) return;
      this.leadership.end();
      this.join();
    });
  }
}
