// Azurite's table service, for as long as the process that started it lives: it ends when its standard input does.
// Says on which port it listens, as it picks one itself.
const net = require("net");

process.stdin.on("close", () => process.exit(0)).resume();

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...options) {
  this.once("listening", () => console.log(`port ${this.address().port}`));
  return listen.apply(this, options);
};

const [main] = process.argv.splice(2, 1);
require(main);
