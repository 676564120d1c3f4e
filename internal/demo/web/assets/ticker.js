// A worker that ticks: timers of a page that is not in front are held back,
// those of a worker are not.
let timer;
onmessage = ({ data: perSecond }) => {
  clearInterval(timer);
  const start = performance.now();
  let count = 0;
  // Ticks follow a schedule, so that the rate is kept exactly.
  timer = setInterval(() => {
    const due = Math.floor((performance.now() - start) * perSecond / 1000);
    if (due > count) {
      count = due;
      postMessage(count);
    }
  }, 500 / perSecond / 4);
};
