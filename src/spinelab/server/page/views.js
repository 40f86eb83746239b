// The linked sagittal, coronal and axial views (NiiVue), loaded after the first picture is there.
import { Niivue, SLICE_TYPE, DRAG_MODE } from "@niivue/niivue";

const BONE_HU = [-250, 1000];
const GROUND = [0, 0, 0, 1];

/** @param onMove called with LPS millimetres when the crosshair was moved in a view. */
export async function openViews(canvas, scanId, onMove) {
  const viewer = new Niivue({
    backColor: GROUND,
    crosshairColor: [0.5, 0.76, 0.84, 0.4],
    crosshairWidth: 0.25,
    fontSizeScaling: 0.35,
    fontMinPx: 12,
    isColorbar: false,
    isOrientationTextVisible: true,
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    loadingText: "",
    dragMode: DRAG_MODE.contrast,
    multiplanarPadPixels: 4,
    logLevel: "error",
  });
  await viewer.attachToCanvas(canvas);
  viewer.setSliceMM(true);
  viewer.setCustomLayout([
    { sliceType: SLICE_TYPE.SAGITTAL, position: [0, 0, 0.56, 1] },
    { sliceType: SLICE_TYPE.CORONAL, position: [0.57, 0, 0.43, 0.56] },
    { sliceType: SLICE_TYPE.AXIAL, position: [0.57, 0.57, 0.43, 0.43] },
  ]);
  const volumeAt = (name) => `/api/cases/${scanId}/${name}${drawsInSoftware(viewer.gl) ? "?coarse=true" : ""}`;
  await viewer.loadVolumes([{ url: volumeAt("scan.nii"), name: "scan.nii", cal_min: BONE_HU[0], cal_max: BONE_HU[1], colormap: "gray" }]);
  // Only what the reader does in the views moves the page; NiiVue also tells of places it went to by itself.
  let touched = 0;
  for (const kind of ["pointerdown", "pointermove", "wheel"]) {
    canvas.addEventListener(kind, (event) => { if (event.buttons || kind === "wheel") touched = performance.now(); }, { passive: true });
  }
  viewer.onLocationChange = (location) => {
    if (performance.now() - touched < 300) onMove([-location.mm[0], -location.mm[1], location.mm[2]]);
  };
  let labels = false;
  return {
    viewer,
    /** Moves all three views to a point, LPS millimetres. */
    go([left, posterior, superior]) {
      viewer.scene.crosshairPos = viewer.mm2frac([-left, -posterior, superior]);
      viewer.drawScene();
    },
    /** Outlines of the vertebrae on or off; their volume is fetched when first wanted. */
    async showOutlines(shown) {
      if (shown && !labels) {
        labels = true;
        await viewer.addVolumesFromUrl([{ url: volumeAt("mask.nii"), name: "mask.nii", opacity: 1 }]);
        viewer.volumes[1].setColormapLabel(labelColors());
        viewer.overlayOutlineWidth = 1.5;
      }
      if (labels && viewer.volumes[1]) viewer.setOpacity(1, shown ? 0.16 : 0);
    },
  };
}

/** Without a graphics card the processor draws, and the page would wait seconds for all voxels. */
function drawsInSoftware(gl) {
  const known = gl.getExtension("WEBGL_debug_renderer_info");
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

/** Neighbouring vertebrae differ; the sacrum is grey. */
function labelColors() {
  const palette = [[92, 200, 255], [255, 200, 87], [255, 122, 168], [123, 224, 138], [195, 155, 255], [255, 154, 92], [79, 224, 208]];
  const colors = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
  for (let label = 1; label <= 28; label += 1) {
    const [r, g, b] = label === 26 || label === 27 ? [154, 163, 173] : palette[label % palette.length];
    colors.R.push(r); colors.G.push(g); colors.B.push(b); colors.A.push(255); colors.I.push(label); colors.labels.push("");
  }
  return colors;
}
