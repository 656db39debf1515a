/** What was asked for last wins: whoever waits for an answer looks whether it is still the one that is wanted. */
export class Latest {
  private count = 0;

  /** Something else is asked for; says from then on whether it still is the last. */
  begin(): () => boolean {
    this.end();
    return this.current();
  }

  /** Says from now on whether nothing else was asked for since. */
  current(): () => boolean {
    const { count } = this;
    return () => count === this.count;
  }

  /** What was asked for is not wanted any more. */
  end(): void {
    this.count++;
  }
}
