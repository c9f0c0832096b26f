// Which tab of the browser holds the connection: the one that has the lock. A tab that closes or
// crashes loses it to the next in line.

interface Leadership {
  begin: () => void;
  end: () => void;
}

export class Election {
  #resign = () => {};
  #leave = new AbortController();

  constructor(private readonly name: string, private readonly leadership: Leadership) {}

  /** Wait in line. */
  join(): void {
    this.#leave = new AbortController();
    this.#request({ signal: this.#leave.signal });
  }

  /** Lead now, instead of a tab that does not answer. */
  takeOver(): void {
    this.#leave.abort();
    this.#leave = new AbortController();
    this.#request({ steal: true });
  }

  leave(): void {
    this.#leave.abort();
    this.#resign();
  }

  #request(options: LockOptions): void {
    const { signal } = this.#leave;
    const held = navigator.locks.request(this.name, options, async () => {
      if (signal.aborted) return;
      this.leadership.begin();
      await new Promise<void>((resolve) => (this.#resign = resolve));
      this.leadership.end();
    });
    // Refused to one that left, or taken from one that did not answer: that waits in line again.
    held.catch(() => {
      if (signal.aborted) return;
      this.leadership.end();
      this.join();
    });
  }
}
