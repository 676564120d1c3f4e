// A Vigil watches over one connection, and learns within two seconds that the server does
// not answer. The connection's own state takes five seconds and more to tell.
//
// While media flows something comes from the server all the time: packets, or reports of
// those that were sent. After more than half a second without, the server is asked over
// HTTP for the session. If it says that the session is over, so it is. If it does not
// answer either, it is silent; and when it has been so for longer, the session is given up.

const lookEvery = 200; // ms
const silentAfter = 600; // ms without a packet, then the server is asked
const patientFor = 3000; // the same, where nothing need come but answers to the browser's own checks
const answerWithin = 600; // ms
const askAgain = 500; // ms, of a server that does not answer
const pauses = [1000, 1500, 2000]; // ms until the next question, while it does and nothing comes
const stalledAfter = 3000; // ms without a packet from a server that answers
const giveUpAfter = 5000; // ms without a packet

export class Vigil {
  #pc;
  #probe;
  #told;
  #timer;
  #over = false;
  #asking = false;
  #heard = -1;
  #at = performance.now(); // of the newest sign of life
  #next = 0; // when the server may be asked again
  #answers = 0; // how often it has answered since
  #silent = false;

  // probe resolves with null if the server has the session, and else with the problem: of
  // code "unreachable" if it does not answer within the ms that it is given. told is called
  // with 'silent' and the problem, and with 'heard', as they come, and once, as the last,
  // with 'over' and the problem. patient says that nothing need come now, as long as the server answers.
  constructor({ pc, probe, told, patient = () => false }) {
    this.#pc = pc;
    this.#probe = probe;
    this.#told = told;
    this.patient = patient;
    this.#timer = setInterval(() => this.#look(), lookEvery);
  }

  stop() {
    this.#over = true;
    clearInterval(this.#timer);
  }

  // ask has the server be asked at once, since the connection has said that it is over.
  ask() {
    this.#next = 0;
    this.#at = Math.min(this.#at, performance.now() - patientFor);
    return this.#look();
  }

  async #look() {
    const reports = await this.#pc.getStats().catch(() => null); // a connection that is closed has none
    if (this.#over || !reports) return;
    const heard = sumOf(reports);
    const now = performance.now();
    if (heard !== this.#heard && this.#pc.connectionState !== 'failed') {
      this.#heard = heard;
      this.#at = now;
      this.#answers = 0;
      this.#next = 0;
      this.#become(null);
      return;
    }
    const long = this.patient() && this.#pc.connectionState === 'connected' ? patientFor : silentAfter;
    if (now - this.#at < long || now < this.#next || this.#asking) return;
    this.#asking = true;
    const problem = await this.#probe(answerWithin);
    this.#asking = false;
    if (!this.#over) this.#judge(problem, performance.now());
  }

  #judge(problem, now) {
    const quiet = now - this.#at;
    if (problem && problem.code !== 'unreachable') this.#end(problem);
    else if (problem) {
      this.#next = now + askAgain;
      if (quiet >= giveUpAfter) this.#end({ code: 'lost' });
      else if (quiet >= silentAfter) this.#become({ code: 'silent' });
    } else {
      this.#next = now + pauses[Math.min(this.#answers++, pauses.length - 1)];
      const broken = ['failed', 'closed'].includes(this.#pc.connectionState);
      if (broken || (quiet >= giveUpAfter && !this.patient())) this.#end({ code: 'lost' });
      else if (quiet >= stalledAfter && !this.patient()) this.#become({ code: 'stalled' });
    }
  }

  // become tells of the problem that the server is silent, null: it is not.
  #become(problem) {
    if (this.#silent === (problem !== null)) return;
    this.#silent = problem !== null;
    this.#told(problem ? 'silent' : 'heard', problem);
  }

  #end(problem) {
    this.stop();
    this.#told('over', problem);
  }
}

// sumOf grows with all that comes: media, reports and answers to connectivity checks.
function sumOf(reports) {
  let sum = 0;
  for (const r of reports.values()) {
    if (r.type === 'transport' || r.type === 'candidate-pair') sum += (r.packetsReceived ?? 0) + (r.bytesReceived ?? 0) + (r.responsesReceived ?? 0);
    else if (r.type === 'inbound-rtp') sum += r.packetsReceived ?? 0;
    else if (r.type === 'remote-inbound-rtp') sum += r.timestamp; // when the newest report came
  }
  return sum;
}
