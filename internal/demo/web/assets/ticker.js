// A worker that ticks: timers of a page that is not in front are held back,
// those of a worker are not.
let timer;
let busy = false; // the page has not drawn for the last tick yet
onmessage = ({ data }) => {
  if (data === 'drawn') {
    busy = false;
    return;
  }
  const perSecond = data;
  clearInterval(timer);
  const start = performance.now();
  let count = 0;
  // Ticks follow a schedule, so that the rate is kept exactly. A page that takes longer to
  // draw misses some: if they queued up, it would do nothing else any more.
  timer = setInterval(() => {
    const due = Math.floor((performance.now() - start) * perSecond / 1000);
    if (due > count && !busy) {
      count = due;
      busy = true;
      postMessage(count);
    }
  }, 500 / perSecond / 4);
};
