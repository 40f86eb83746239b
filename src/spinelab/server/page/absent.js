// Stands in for codecs of Zarr files, which the workstation never reads: nothing asks for it.
export default class Absent {
  static fromConfig() {
    throw new Error("this codec is not part of the workstation");
  }
}
